-- Deletes a version with its builds.
CREATE FUNCTION piwheels.delete_version(the_package text, the_version text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages WHERE package = the_package FOR NO KEY UPDATE;
    PERFORM FROM versions WHERE package = the_package AND version = the_version FOR UPDATE;
    DELETE FROM builds WHERE package = the_package AND version = the_version;
    DELETE FROM versions WHERE package = the_package AND version = the_version;
    PERFORM _unpin_package(the_package);
END
$$;
