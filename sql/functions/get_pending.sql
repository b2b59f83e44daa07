-- Returns the builds of these versions that are in the queue.
CREATE FUNCTION piwheels.get_pending(the_packages text[], the_versions text[])
RETURNS TABLE (
    package text, version text, platform text, abi_tag text, exclusive text, due bigint, failed_by text,
    failed_at timestamptz, recipe jsonb, attempt integer, tried text[]
)
LANGUAGE sql STABLE AS $$
    SELECT q.*
    FROM (SELECT DISTINCT * FROM unnest(the_packages, the_versions) AS k (package, version)) AS k
    JOIN queued q USING (package, version)
    ORDER BY q.package, q.version, q.platform, q.abi_tag;
$$;
