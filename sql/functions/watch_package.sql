-- Watches a project at the request of an operator.
CREATE FUNCTION piwheels.watch_package(the_package text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO watched (package, asked) VALUES (the_package, true)
        ON CONFLICT (package) DO UPDATE SET asked = true;
$$;
