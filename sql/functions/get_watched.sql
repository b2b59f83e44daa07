-- The projects that are watched, and what is known of each (WatchedRow of core/rows.py).
CREATE FUNCTION piwheels.get_watched() RETURNS TABLE (
    package text, found boolean, floor text, since timestamptz, serial bigint, etag text, modified text
) LANGUAGE sql STABLE AS $$
    SELECT package, found, floor, since, serial, etag, modified FROM watched ORDER BY package;
$$;
