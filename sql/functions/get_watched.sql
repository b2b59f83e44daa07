-- The projects that are watched, and what is known of each (WatchedRow of core/database/rows.py).
CREATE FUNCTION piwheels.get_watched() RETURNS TABLE (
    package text, found boolean, newest text, latest timestamptz, serial bigint, etag text, modified text
) LANGUAGE sql STABLE AS $$
    SELECT package, found, newest, latest, serial, etag, modified FROM watched ORDER BY package;
$$;
