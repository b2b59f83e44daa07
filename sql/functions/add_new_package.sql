-- Adds a package. Returns false if it exists already.
CREATE FUNCTION piwheels.add_new_package(the_package text, the_skip text, the_description text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO packages (package, skip, description)
        VALUES (the_package, the_skip, the_description) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;
