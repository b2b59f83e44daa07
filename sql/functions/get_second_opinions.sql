-- Returns the first versions of each active ABI that need a second opinion, with the owner and the time of their failure.
CREATE FUNCTION piwheels.get_second_opinions(the_limit integer)
RETURNS TABLE (abi_tag text, package text, version text, failed_by text, failed_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT q.abi_tag, q.package, q.version, q.failed_by, q.failed_at
    FROM build_abis a
    CROSS JOIN LATERAL (
        SELECT * FROM build_queue q
        WHERE q.abi_tag = a.abi_tag AND q.failed_at IS NOT NULL
        ORDER BY q.failed_at, q.package, q.version
        LIMIT the_limit
    ) AS q
    WHERE a.skip = ''
    ORDER BY a.position, a.abi_tag, q.failed_at, q.package, q.version;
$$;
