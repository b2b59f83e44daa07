-- Adds a version. Returns false if it exists already or its package does not exist.
CREATE FUNCTION piwheels.add_new_package_version(
    the_package text, the_version text, the_release timestamptz, the_skip text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages WHERE package = the_package FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO versions (package, version, released, skip)
        VALUES (the_package, the_version, the_release, the_skip) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM _pin_package(the_package);
    RETURN true;
END
$$;
