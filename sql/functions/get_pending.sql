-- Returns those of these versions that are in the queue, with the owner and the time of their first failure.
CREATE FUNCTION piwheels.get_pending(the_packages text[], the_versions text[])
RETURNS TABLE (package text, version text, abi_tag text, failed_by text, failed_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT q.package, q.version, q.abi_tag, q.failed_by, q.failed_at
    FROM (SELECT DISTINCT * FROM unnest(the_packages, the_versions) AS k (package, version)) AS k
    JOIN build_queue q USING (package, version)
    ORDER BY q.package, q.version;
$$;
