-- Returns the statistics of the farm by the names in MasterStats (core/states.py), with times in seconds. It reads stored
-- counters, and the builds (without failures of the farm) and versions of the last hour, so it is fast at any size. Downloads are those of known files, by
-- whole minutes and days.
CREATE FUNCTION piwheels.get_statistics() RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    widest CONSTANT numeric := 9223372036854775807;
    utc CONSTANT timestamp := now() AT TIME ZONE 'UTC';
BEGIN
    PERFORM _forget_downloads();
    PERFORM _fold_counters();
    RETURN json_build_object(
        'packages_built', _counter_value('packages_built'),
        'builds_last_hour', (
            SELECT coalesce(json_object_agg(a.abi_tag, (
                SELECT count(*) FROM builds b
                WHERE b.built_at > now() - interval '1 hour' AND b.abi_tag = a.abi_tag AND b.counts
            ) ORDER BY a.position, a.abi_tag), '{}')
            FROM build_abis a WHERE a.abi_tag IN (SELECT get_build_abis(true))
        ),
        'builds_time', _counter_value('builds_time'),
        'builds_size', least(_counter_value('builds_size'), widest),
        'builds_pending', (
            SELECT coalesce(json_object_agg(k.abi_tag, k.pending ORDER BY k.abi_tag = 'any', k.position, k.abi_tag), '{}')
            FROM (
                SELECT t.abi_tag, min(t.position) AS position,
                    sum(_counter_value('builds_pending', t.platform || '/' || t.abi_tag)) AS pending
                FROM (SELECT platform, abi_tag, position FROM active_targets UNION ALL SELECT 'any', 'any', NULL) AS t
                GROUP BY t.abi_tag
            ) AS k
        ),
        'new_last_hour', (
            SELECT count(*) FROM versions
            WHERE released > now() - interval '1 hour' AND released <= now()
        ),
        'files_count', _counter_value('files_count'),
        'downloads_last_hour', (
            SELECT coalesce(sum(value), 0) FROM counters WHERE counter = 'downloads_minute'
            AND key > (utc - interval '1 hour')::text AND key <= utc::text
        ),
        'downloads_last_month', (
            SELECT coalesce(sum(value), 0) FROM counters WHERE counter = 'downloads_day'
            AND key > (utc::date - 30)::text AND key <= utc::date::text
        ),
        'downloads_all', least(_counter_value('downloads'), widest)
    );
END
$$;
