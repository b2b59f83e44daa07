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
    DELETE FROM build_queue q
        USING unnest(the_packages, the_versions) AS k (package, version)
        WHERE q.package = k.package AND q.version = k.version
        AND NOT EXISTS (
            SELECT FROM builds_pending w
            WHERE w.package = q.package AND w.version = q.version AND w.abi_tag = q.abi_tag
            AND (w.released, w.failed_by, w.failed_at) IS NOT DISTINCT FROM (q.released, q.failed_by, q.failed_at)
        );
    INSERT INTO build_queue (package, version, abi_tag, released, failed_by, failed_at)
        SELECT w.package, w.version, w.abi_tag, w.released, w.failed_by, w.failed_at
        FROM unnest(the_packages, the_versions) AS k (package, version)
        JOIN builds_pending w USING (package, version)
        ON CONFLICT (package, version) DO NOTHING;
END
$$;
