-- Returns what these builds asked the proxies of their slaves for, in order.
CREATE FUNCTION piwheels.get_fetches(the_builds bigint[])
RETURNS TABLE (build_id bigint, url text, size bigint, sha256 text, refused text) LANGUAGE sql STABLE AS $$
    SELECT f.build_id, f.url, f.size, f.sha256, f.refused
    FROM fetches f WHERE f.build_id = ANY (the_builds)
    ORDER BY f.build_id, f.position;
$$;
