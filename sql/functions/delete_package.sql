CREATE FUNCTION piwheels.delete_package(the_package text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages WHERE package = the_package FOR UPDATE;
    -- Its versions go in one statement, not in one a version as the reference would have it.
    DELETE FROM builds WHERE package = the_package;
    DELETE FROM versions WHERE package = the_package;
    DELETE FROM packages WHERE package = the_package;
END
$$;
