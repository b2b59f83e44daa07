-- Returns the next packages after the_name that have files and are not quarantined. shown: the index must list the package,
-- because it has a visible file and no rewrite is pending.
CREATE FUNCTION piwheels.audit_published(the_name text, the_limit integer)
RETURNS TABLE (package text, shown boolean) LANGUAGE sql STABLE AS $$
    SELECT p.package, NOT EXISTS (SELECT FROM rewrites_pending r WHERE r.package = p.package) AND EXISTS (
        SELECT FROM builds b JOIN versions v USING (package, version)
        CROSS JOIN LATERAL (SELECT FROM files f WHERE f.build_id = b.build_id OFFSET 0) AS f
        WHERE b.package = p.package AND v.skip <> 'deleted' AND NOT v.quarantined
    )
    FROM (
        SELECT p.package FROM published JOIN packages p USING (package)
        WHERE p.package > the_name AND p.skip <> 'deleted' AND p.status <> 'quarantined'
        ORDER BY p.package LIMIT the_limit
    ) AS p ORDER BY p.package;
$$;
