-- Returns the first versions in the queue of each active ABI that no slave has tried. An ABI with an empty queue has one row without a version.
CREATE FUNCTION piwheels.get_build_queue(the_limit integer)
RETURNS TABLE (abi_tag text, package text, version text)
LANGUAGE sql STABLE
AS $$
    SELECT a.abi_tag, q.package, q.version
    FROM build_abis a
    LEFT JOIN LATERAL (
        SELECT * FROM build_queue q
        WHERE q.abi_tag = a.abi_tag AND q.failed_at IS NULL
        ORDER BY q.released, q.package, q.version
        LIMIT the_limit
    ) AS q ON true
    WHERE a.skip = ''
    ORDER BY a.position, a.abi_tag, q.released, q.package, q.version;
$$;
