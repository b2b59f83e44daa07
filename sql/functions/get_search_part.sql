-- Returns the downloads of the next packages after the_package, in the last 30 days and in total. It looks them up one by
-- one: a join would read all of downloads_ever.
CREATE FUNCTION piwheels.get_search_part(the_package text, the_limit integer)
RETURNS TABLE (package text, recent bigint, ever bigint) LANGUAGE sql STABLE AS $$
    SELECT p.package, coalesce((
        SELECT sum(d.downloads)::bigint FROM downloads_recent d WHERE d.package = p.package
        AND d.day > (now() AT TIME ZONE 'UTC')::date - 30 AND d.day <= (now() AT TIME ZONE 'UTC')::date
    ), 0), coalesce((SELECT e.downloads FROM downloads_ever e WHERE e.package = p.package), 0)
    FROM packages p
    WHERE p.package > the_package AND p.skip <> 'deleted'
    ORDER BY p.package LIMIT the_limit;
$$;
