-- The first versions of the queue of each active ABI; an ABI without any has one row without a version. (The settings:
-- a walk along the index, whatever the planner thinks of the table.)
CREATE FUNCTION piwheels.get_build_queue(the_limit integer)
RETURNS TABLE (abi_tag text, package text, version text)
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
    SELECT a.abi_tag, q.package, q.version
    FROM build_abis a
    LEFT JOIN LATERAL (
        SELECT * FROM build_queue q
        WHERE q.abi_tag = a.abi_tag
        ORDER BY q.released, q.package, q.version
        LIMIT the_limit
    ) AS q ON true
    WHERE a.skip = ''
    ORDER BY a.position, a.abi_tag, q.released, q.package, q.version;
$$;
