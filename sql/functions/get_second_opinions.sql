-- Returns the first builds of each active target that need a second opinion: those whose first failure is the oldest.
CREATE FUNCTION piwheels.get_second_opinions(the_limit integer)
RETURNS TABLE (
    package text, version text, platform text, abi_tag text, exclusive text, due bigint, failed_by text,
    failed_at timestamptz, recipe jsonb, attempt integer, tried text[]
)
LANGUAGE sql STABLE
AS $$
    SELECT q.*
    FROM active_targets a
    CROSS JOIN LATERAL (
        SELECT * FROM queued q
        WHERE q.platform = a.platform AND q.abi_tag = a.abi_tag AND q.failed_at IS NOT NULL
        ORDER BY q.failed_at, q.package, q.version
        LIMIT the_limit
    ) AS q
    ORDER BY q.failed_at, q.package, q.version;
$$;
