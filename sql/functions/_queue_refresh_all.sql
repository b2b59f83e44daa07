-- Updates the queue for all versions: after a change of an ABI and after an upgrade.
CREATE FUNCTION piwheels._queue_refresh_all() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(true);
    CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS SELECT * FROM builds_pending;
    DELETE FROM build_queue q WHERE NOT EXISTS (
        SELECT FROM pg_temp.wanted w
        WHERE w.package = q.package AND w.version = q.version AND w.abi_tag = q.abi_tag
        AND (w.released, w.failed_by, w.failed_at) IS NOT DISTINCT FROM (q.released, q.failed_by, q.failed_at)
    );
    INSERT INTO build_queue (package, version, abi_tag, released, failed_by, failed_at)
        SELECT w.package, w.version, w.abi_tag, w.released, w.failed_by, w.failed_at FROM pg_temp.wanted w
        ON CONFLICT (package, version) DO NOTHING;
    DROP TABLE pg_temp.wanted;
END
$$;
