-- Make whoever else changes these versions (or whether their packages are skipped) wait until we are done. Always
-- packages first, each in order, so that nobody waits in a circle.
CREATE FUNCTION piwheels._lock_versions(the_packages text[], the_versions text[]) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM _queue_lock(false);
    PERFORM FROM packages p WHERE p.package = ANY (the_packages) ORDER BY p.package FOR SHARE;
    PERFORM FROM unnest(the_packages, the_versions) AS k (package, version)
        JOIN versions v USING (package, version)
        ORDER BY v.package, v.version FOR NO KEY UPDATE OF v;
END
$$;
