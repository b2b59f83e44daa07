-- Deletes the builds that have failed since a time, on the slave the_label ('': on any), so that their versions return to
-- the queue. Returns the package of each deleted build.
CREATE FUNCTION piwheels.retry_failed(the_time timestamptz, the_label text) RETURNS SETOF text
LANGUAGE sql AS $$
    SELECT _delete_failed(ARRAY(
        SELECT build_id FROM builds WHERE NOT status AND built_at >= the_time AND the_label IN ('', label)
    ));
$$;
