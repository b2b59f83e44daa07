-- The downloads of each package: of the last 30 days, and of all time.
CREATE FUNCTION piwheels.get_search_index()
RETURNS TABLE (package text, recent bigint, ever bigint) LANGUAGE sql STABLE AS $$
    SELECT p.package, coalesce(d.recent, 0), coalesce(d.ever, 0)
    FROM packages p
    LEFT JOIN (
        SELECT package, sum(downloads)::bigint AS ever,
            (sum(downloads) FILTER (
                WHERE day > (now() AT TIME ZONE 'UTC')::date - 30
            ))::bigint AS recent
        FROM downloads_daily GROUP BY package
    ) AS d USING (package)
    WHERE p.skip <> 'deleted'
    ORDER BY p.package;
$$;
