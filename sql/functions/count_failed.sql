-- Returns how many builds have failed since a time, on the slave the_label ('': on any).
CREATE FUNCTION piwheels.count_failed(the_time timestamptz, the_label text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM builds
    WHERE NOT status AND built_at >= the_time AND the_label IN ('', label);
$$;
