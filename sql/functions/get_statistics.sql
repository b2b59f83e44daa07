-- The figures of the farm, by the names of MasterStats (core/states.py); times in seconds. Kept sums, and the builds and
-- versions of the last hour: cheap at any size. Downloads are those of files that we have, by whole minutes and days.
CREATE FUNCTION piwheels.get_statistics() RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    widest CONSTANT numeric := 9223372036854775807;
    utc CONSTANT timestamp := now() AT TIME ZONE 'UTC';
BEGIN
    PERFORM _forget_downloads();
    PERFORM _fold_counters();
    RETURN json_build_object(
        'packages_built', _counted('packages_built'),
        'builds_last_hour', (
            SELECT coalesce(json_object_agg(a.abi_tag, (
                SELECT count(*) FROM builds b
                WHERE b.built_at > now() - interval '1 hour' AND b.abi_tag = a.abi_tag
            ) ORDER BY a.position, a.abi_tag), '{}')
            FROM build_abis a WHERE a.skip = ''
        ),
        'builds_time', _counted('builds_time'),
        'builds_size', least(_counted('builds_size'), widest),
        'builds_pending', (
            SELECT coalesce(json_object_agg(a.abi_tag, _counted('builds_pending', a.abi_tag)
                ORDER BY a.position, a.abi_tag), '{}')
            FROM build_abis a WHERE a.skip = ''
        ),
        'new_last_hour', (
            SELECT count(*) FROM versions
            WHERE released > now() - interval '1 hour' AND released <= now()
        ),
        'files_count', _counted('files_count'),
        'downloads_last_hour', (
            SELECT coalesce(sum(value), 0) FROM counters WHERE counter = 'downloads_minute'
            AND key > (utc - interval '1 hour')::text AND key <= utc::text
        ),
        'downloads_last_month', (
            SELECT coalesce(sum(value), 0) FROM counters WHERE counter = 'downloads_day'
            AND key > (utc::date - 30)::text AND key <= utc::date::text
        ),
        'downloads_all', least(_counted('downloads'), widest)
    );
END
$$;
