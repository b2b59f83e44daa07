-- Deletes the builds that have failed since a time, on the slave the_label ('': on any), so that their versions return to
-- the queue. Requests the pages of their packages. Returns the package of each deleted build.
CREATE FUNCTION piwheels.retry_failed(the_time timestamptz, the_label text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[];
    affected text[];
BEGIN
    SELECT array_agg(build_id), array_agg(package) INTO numbers, affected FROM builds
        WHERE NOT status AND built_at >= the_time AND the_label IN ('', label);
    PERFORM _queue_lock(false);
    PERFORM FROM packages WHERE package = ANY (affected) ORDER BY package FOR NO KEY UPDATE;
    PERFORM FROM versions v
        WHERE EXISTS (SELECT FROM builds b WHERE b.build_id = ANY (numbers)
            AND b.package = v.package AND b.version = v.version)
        ORDER BY v.package, v.version FOR NO KEY UPDATE;
    DELETE FROM builds_put_off o USING builds b
        WHERE b.build_id = ANY (numbers) AND o.package = b.package AND o.version = b.version
        AND o.abi_tag = b.abi_tag;
    PERFORM add_rewrite(p, 'PROJECT') FROM (SELECT DISTINCT unnest(affected) AS p ORDER BY 1) AS k;
    RETURN QUERY DELETE FROM builds WHERE build_id = ANY (numbers) RETURNING package::text;
END
$$;
