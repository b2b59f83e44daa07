-- Whether a log is in no file yet; of a build that is gone there is none.
CREATE FUNCTION piwheels.log_waits(the_build bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM build_logs_pending WHERE build_id = the_build);
$$;
