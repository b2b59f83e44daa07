-- Returns whether the log of a build still has to be written; false if the build was deleted.
CREATE FUNCTION piwheels.log_waits(the_build bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM build_logs_pending WHERE build_id = the_build);
$$;
