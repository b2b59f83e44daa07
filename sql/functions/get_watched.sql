-- Returns the watched projects and their state (WatchedRow in core/database/rows.py).
CREATE FUNCTION piwheels.get_watched() RETURNS TABLE (
    package text, found boolean, newest text, latest timestamptz, serial bigint, etag text, modified text,
    pinned boolean, polled boolean
) LANGUAGE sql STABLE AS $$
    SELECT package, found, newest, latest, serial, etag, modified, NOT asked AND NOT listed, polled FROM watched ORDER BY package;
$$;
