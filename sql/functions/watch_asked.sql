-- Records that the index has been asked for a project, without a new page. It leaves out a project whose state was reset
-- in the meantime: the answer was not about its new versions.
CREATE FUNCTION piwheels.watch_asked(the_package text, the_serial bigint, the_etag text, the_date text) RETURNS void
LANGUAGE sql AS $$
    UPDATE watched SET polled = true
    WHERE package = the_package AND NOT polled AND (serial, etag, modified) = (the_serial, the_etag, the_date);
$$;
