CREATE FUNCTION piwheels.logs_removed(the_builds bigint[]) RETURNS void LANGUAGE sql AS $$
    SELECT _relaxed();
    DELETE FROM build_logs_gone WHERE build_id = ANY (the_builds);
$$;
