-- Returns the first builds in the queue of each active target that no slave has tried, and of those that may begin with any.
CREATE FUNCTION piwheels.get_target_queue(the_limit integer)
RETURNS TABLE (
    package text, version text, platform text, abi_tag text, exclusive text, due bigint, failed_by text,
    failed_at timestamptz, recipe jsonb, attempt integer, tried text[]
)
LANGUAGE sql STABLE
AS $$
    SELECT q.*
    FROM (SELECT t.platform, t.abi_tag FROM active_targets t UNION ALL SELECT 'any', 'any') AS a
    CROSS JOIN LATERAL (
        SELECT * FROM queued q
        WHERE q.platform = a.platform AND q.abi_tag = a.abi_tag AND q.failed_at IS NULL
        ORDER BY q.due, q.package, q.version
        LIMIT the_limit
    ) AS q;
$$;
