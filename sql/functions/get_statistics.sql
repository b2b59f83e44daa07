-- The figures of the farm, by the names of MasterStats (core/states.py); times in seconds. Kept sums, and rows of the
-- last hour: cheap at any size.
CREATE FUNCTION piwheels.get_statistics() RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    widest CONSTANT numeric := 9223372036854775807;
BEGIN
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
            SELECT count(*) FROM downloads
            WHERE accessed_at > now() - interval '1 hour' AND accessed_at <= now()
        ),
        'downloads_last_month', (
            SELECT coalesce(sum(value), 0) FROM counters WHERE counter = 'downloads_day'
            AND key > ((now() AT TIME ZONE 'UTC')::date - 30)::text
            AND key <= (now() AT TIME ZONE 'UTC')::date::text
        ),
        'downloads_all', least(_counted('downloads'), widest)
    );
END
$$;
