-- Watches a project at the request of an operator.
CREATE FUNCTION piwheels.watch_package(the_package text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO watched AS w (package, asked) VALUES (the_package, true)
        ON CONFLICT (package) DO UPDATE
        -- What was only pinned begins with the whole page.
        SET asked = true, serial = 0, etag = '', modified = '' WHERE NOT w.asked;
$$;
