-- Records that the logs of these deleted builds have been removed from the site.
CREATE FUNCTION piwheels.logs_removed(the_builds bigint[]) RETURNS void LANGUAGE sql AS $$
    SELECT _async_commit();
    DELETE FROM build_logs_gone WHERE build_id = ANY (the_builds);
$$;
