-- Updates the queue for these versions. It locks them first, because each statement of a READ COMMITTED transaction sees
-- all that was committed before it.
CREATE FUNCTION piwheels._queue_refresh(the_packages text[], the_versions text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF the_packages IS NULL THEN
        RETURN;
    END IF;
    PERFORM _lock_versions(the_packages, the_versions);
    WITH wanted AS MATERIALIZED (
        SELECT w.* FROM unnest(the_packages, the_versions) AS k (package, version)
        JOIN builds_pending w USING (package, version)
    ), gone AS (
        DELETE FROM build_queue q
        USING unnest(the_packages, the_versions) AS k (package, version)
        WHERE q.package = k.package AND q.version = k.version
        AND NOT EXISTS (
            SELECT FROM wanted w
            WHERE (w.package, w.version, w.platform, w.abi_tag) = (q.package, q.version, q.platform, q.abi_tag)
        )
    )
    INSERT INTO build_queue AS q SELECT * FROM wanted
        ON CONFLICT (package, version, platform, abi_tag) DO UPDATE
        SET exclusive = EXCLUDED.exclusive, due = EXCLUDED.due, failed_by = EXCLUDED.failed_by,
            failed_at = EXCLUDED.failed_at
        WHERE (q.exclusive, q.due, q.failed_by, q.failed_at)
            IS DISTINCT FROM (EXCLUDED.exclusive, EXCLUDED.due, EXCLUDED.failed_by, EXCLUDED.failed_at);
END
$$;
