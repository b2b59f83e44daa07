-- Locks these versions, and the skip reasons of their packages, against concurrent changes. The order is always the same
-- (packages, then versions), so that there are no deadlocks.
CREATE FUNCTION piwheels._lock_versions(the_packages text[], the_versions text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages p WHERE p.package = ANY (the_packages) ORDER BY p.package FOR SHARE;
    PERFORM FROM unnest(the_packages, the_versions) AS k (package, version)
        JOIN versions v USING (package, version)
        ORDER BY v.package, v.version FOR NO KEY UPDATE OF v;
END
$$;
