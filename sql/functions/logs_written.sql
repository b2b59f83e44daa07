CREATE FUNCTION piwheels.logs_written(the_builds bigint[]) RETURNS void LANGUAGE sql AS $$
    SELECT _relaxed();
    DELETE FROM build_logs_pending WHERE build_id = ANY (the_builds);
$$;
