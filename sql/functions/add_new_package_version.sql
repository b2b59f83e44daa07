-- Adds a version. Returns false if it exists already or its package does not exist. The caller has compared its spelling with
-- the_known versions of the package; if there are others, this fails (_check_known).
CREATE FUNCTION piwheels.add_new_package_version(
    the_package text, the_version text, the_release timestamptz, the_skip text, the_known text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages WHERE package = the_package FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM _check_known(ARRAY[the_package], array_fill(the_package, ARRAY[cardinality(the_known)]), the_known);
    INSERT INTO versions (package, version, released, skip)
        VALUES (the_package, the_version, the_release, the_skip) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM _pin_package(the_package);
    RETURN true;
END
$$;
