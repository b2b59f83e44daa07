-- Returns the first versions in the queue of each active ABI that need a build which no slave has tried, for any of its
-- targets. An ABI with an empty queue has one row without a version.
CREATE FUNCTION piwheels.get_build_queue(the_limit integer)
RETURNS TABLE (abi_tag text, package text, version text)
LANGUAGE sql STABLE
AS $$
    SELECT a.abi_tag, q.package, q.version
    FROM (SELECT t.abi_tag, min(t.position) AS position FROM active_targets t GROUP BY t.abi_tag) AS a
    LEFT JOIN LATERAL (
        SELECT q.package, q.version, min(q.due) AS due FROM get_target_queue(the_limit) q
        WHERE q.abi_tag IN (a.abi_tag, 'any')
        GROUP BY q.package, q.version
        ORDER BY min(q.due), q.package, q.version
        LIMIT the_limit
    ) AS q ON true
    ORDER BY a.position, a.abi_tag, q.due, q.package, q.version;
$$;
