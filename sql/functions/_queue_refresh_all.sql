-- Updates the queue for all versions: after a change of the targets and after an upgrade.
CREATE FUNCTION piwheels._queue_refresh_all() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(true);
    CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS SELECT * FROM builds_pending;
    DELETE FROM build_queue q WHERE NOT EXISTS (
        SELECT FROM pg_temp.wanted w
        WHERE (w.package, w.version, w.platform, w.abi_tag) = (q.package, q.version, q.platform, q.abi_tag)
    );
    INSERT INTO build_queue AS q SELECT * FROM pg_temp.wanted
        ON CONFLICT (package, version, platform, abi_tag) DO UPDATE
        SET exclusive = EXCLUDED.exclusive, due = EXCLUDED.due, failed_by = EXCLUDED.failed_by,
            failed_at = EXCLUDED.failed_at
        WHERE (q.exclusive, q.due, q.failed_by, q.failed_at)
            IS DISTINCT FROM (EXCLUDED.exclusive, EXCLUDED.due, EXCLUDED.failed_by, EXCLUDED.failed_at);
    DROP TABLE pg_temp.wanted;
END
$$;
