-- Deletes a package with its versions and builds.
CREATE FUNCTION piwheels.delete_package(the_package text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages WHERE package = the_package FOR UPDATE;
    -- One statement for all versions
    DELETE FROM builds WHERE package = the_package;
    DELETE FROM versions WHERE package = the_package;
    DELETE FROM packages WHERE package = the_package;
    PERFORM _unpin_package(the_package);
END
$$;
