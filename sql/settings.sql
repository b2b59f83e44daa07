-- Planner settings. These functions look up a few rows of large tables. Each statement is planned once and uses index
-- scans, so that its cost depends on the rows it touches and not on what the planner assumes about the tables.

DO $$
DECLARE
    name text;
    setting text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        '_files_changed', '_lock_versions', '_log_build', '_published_refresh', '_queue_refresh', 'count_reason',
        'count_reasons', 'follow_upstream', 'get_failures', 'get_pending', 'get_second_opinions', 'get_standing',
        'get_target_queue', 'retry_reason'
    ]
    LOOP
        FOREACH setting IN ARRAY ARRAY[
            'plan_cache_mode = force_generic_plan', 'enable_seqscan = off', 'enable_bitmapscan = off',
            'enable_hashjoin = off', 'enable_mergejoin = off'
        ]
        LOOP
            EXECUTE format('ALTER FUNCTION piwheels.%I SET %s', name, setting);
        END LOOP;
    END LOOP;
END
$$;
