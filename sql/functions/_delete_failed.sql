-- Deletes failed builds, so that their versions return to the queue. Requests the pages of their packages. Returns the
-- package of each deleted build.
CREATE FUNCTION piwheels._delete_failed(numbers bigint[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    affected CONSTANT text[] := ARRAY(SELECT DISTINCT package FROM builds WHERE build_id = ANY (numbers) ORDER BY 1);
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages WHERE package = ANY (affected) ORDER BY package FOR NO KEY UPDATE;
    PERFORM FROM versions v
        WHERE EXISTS (SELECT FROM builds b WHERE b.build_id = ANY (numbers)
            AND b.package = v.package AND b.version = v.version)
        ORDER BY v.package, v.version FOR NO KEY UPDATE;
    PERFORM add_rewrite(p, 'PROJECT') FROM unnest(affected) AS k (p);
    RETURN QUERY DELETE FROM builds WHERE build_id = ANY (numbers) AND NOT status RETURNING package::text;
END
$$;
