-- The downloads of each package, in the last 30 days and ever: of so many packages after the one named, by name.
CREATE FUNCTION piwheels.get_search_part(the_package text, the_limit integer)
RETURNS TABLE (package text, recent bigint, ever bigint) LANGUAGE sql STABLE AS $$
    SELECT p.package, coalesce(r.recent, 0), coalesce(e.downloads, 0)
    FROM (
        SELECT package FROM packages WHERE package > the_package AND skip <> 'deleted'
        ORDER BY package LIMIT the_limit
    ) AS p
    LEFT JOIN downloads_ever e USING (package)
    CROSS JOIN LATERAL (
        SELECT sum(d.downloads)::bigint AS recent FROM downloads_recent d
        WHERE d.package = p.package AND d.day > (now() AT TIME ZONE 'UTC')::date - 30
        AND d.day <= (now() AT TIME ZONE 'UTC')::date
    ) AS r
    ORDER BY p.package;
$$;
