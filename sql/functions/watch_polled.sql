-- Stores the state of a watched project (WatchedRow in core/database/rows.py), unless its watch has ended.
CREATE FUNCTION piwheels.watch_polled(
    the_package text, is_found boolean, the_newest text, the_latest timestamptz, the_serial bigint, the_etag text,
    the_date text
) RETURNS void LANGUAGE sql AS $$
    UPDATE watched SET found = is_found, newest = the_newest, latest = the_latest, serial = the_serial, etag = the_etag,
        modified = the_date, polled = true
    WHERE package = the_package;
$$;
