-- Returns the builds of these versions that are in the queue.
CREATE FUNCTION piwheels.get_pending(the_packages text[], the_versions text[]) RETURNS SETOF public.build_queue
LANGUAGE sql STABLE AS $$
    SELECT q.*
    FROM (SELECT DISTINCT * FROM unnest(the_packages, the_versions) AS k (package, version)) AS k
    JOIN build_queue q USING (package, version)
    ORDER BY q.package, q.version, q.platform, q.abi_tag;
$$;
