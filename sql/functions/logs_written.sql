-- Records that the logs of these builds have been written to files.
CREATE FUNCTION piwheels.logs_written(the_builds bigint[]) RETURNS void LANGUAGE sql AS $$
    SELECT _async_commit();
    DELETE FROM build_logs_pending WHERE build_id = ANY (the_builds);
$$;
