-- Deletes all builds of a version.
CREATE FUNCTION piwheels.delete_build(the_package text, the_version text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages WHERE package = the_package FOR NO KEY UPDATE;
    PERFORM FROM versions WHERE package = the_package AND version = the_version FOR NO KEY UPDATE;
    DELETE FROM builds WHERE package = the_package AND version = the_version;
END
$$;
