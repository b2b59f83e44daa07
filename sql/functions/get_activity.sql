-- Returns the additional data of the stats page: versions built in the last seven days by ABI (succeeded, failed; failures of the
-- farm are none), and downloads on each of the last 30 days (UTC).
CREATE FUNCTION piwheels.get_activity() RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'builds', (
            SELECT coalesce(json_object_agg(abi_tag, json_build_array(succeeded, failed)), '{}')
            FROM (
                SELECT abi_tag, count(*) FILTER (WHERE built) AS succeeded,
                    count(*) FILTER (WHERE NOT built) AS failed
                FROM (
                    SELECT abi_tag, bool_or(status) AS built
                    FROM builds WHERE built_at > now() - interval '7 days' AND counts
                    GROUP BY package, version, abi_tag
                ) AS v
                GROUP BY abi_tag
            ) AS b
        ),
        'downloads', (
            SELECT json_object_agg(day, coalesce(
                (SELECT sum(value) FROM counters WHERE counter = 'downloads_day' AND key = day), 0
            ))
            FROM (
                SELECT ((now() AT TIME ZONE 'UTC')::date - back)::text AS day
                FROM generate_series(0, 29) AS back
            ) AS d
        )
    );
$$;
