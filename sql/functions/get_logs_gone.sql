-- Returns deleted builds whose logs may still be on the site.
CREATE FUNCTION piwheels.get_logs_gone(the_limit integer) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT build_id FROM build_logs_gone ORDER BY build_id LIMIT the_limit;
$$;
