-- Returns logs that are not yet in a file.
CREATE FUNCTION piwheels.get_unwritten_logs(the_limit integer)
RETURNS TABLE (build_id bigint, output text) LANGUAGE sql STABLE AS $$
    SELECT build_id, output FROM build_logs_pending ORDER BY build_id LIMIT the_limit;
$$;
