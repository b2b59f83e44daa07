-- Compares derived data with its source, and finds overdue rewrites and rows that contradict each other. It is one
-- statement, and so sees one state of the database, without locks. Returns at most the_limit rows of each kind.
CREATE FUNCTION piwheels.audit_derived(the_limit integer)
RETURNS TABLE (kind text, package text, subject text, why text) LANGUAGE sql STABLE AS $$
    (
        SELECT 'wrong-queue', package, version,
            CASE WHEN q.due IS NULL THEN format('is missing from the queue for %s/%s', platform, abi_tag)
                WHEN w.due IS NULL THEN format('is in the queue for %s/%s, but needs no build', platform, abi_tag)
                WHEN q.due <> w.due THEN format('has a wrong place in the queue for %s/%s', platform, abi_tag)
                WHEN q.exclusive <> w.exclusive
                THEN format('may be built for other targets at the same time by mistake (%s/%s)', platform, abi_tag)
                ELSE format('has a wrong first failure in the queue for %s/%s', platform, abi_tag) END
        FROM build_queue q FULL JOIN builds_pending w USING (package, version, platform, abi_tag)
        WHERE (q.exclusive, q.due, q.failed_by, q.failed_at)
            IS DISTINCT FROM (w.exclusive, w.due, w.failed_by, w.failed_at)
        LIMIT the_limit
    ) UNION ALL (
        SELECT 'wrong-published', package, '',
            CASE WHEN p.found IS NULL THEN 'has files, but is missing from the table published'
                ELSE 'is in the table published, but has no files' END
        FROM (SELECT package, true AS found FROM published) AS p
        FULL JOIN (
            SELECT DISTINCT b.package, true AS found FROM builds b JOIN files f USING (build_id)
        ) AS t USING (package)
        WHERE p.found IS NULL OR t.found IS NULL
        LIMIT the_limit
    ) UNION ALL (
        SELECT 'wrong-counter', '', concat_ws(' ', counter, nullif(key, '')),
            format('is stored as %s, but should be %s', coalesce(k.value, 0), coalesce(t.value, 0))
        FROM (
            SELECT counter, key, sum(value) AS value FROM counters
            -- Counts by minute or by day expire
            WHERE counter <> 'downloads_minute'
            AND NOT (counter = 'downloads_day' AND key <= ((now() AT TIME ZONE 'UTC')::date - 30)::text)
            GROUP BY counter, key
        ) AS k
        FULL JOIN (
            SELECT 'builds_pending' AS counter, platform || '/' || abi_tag AS key, count(*)::numeric AS value
                FROM build_queue WHERE failed_at IS NULL GROUP BY platform, abi_tag
            UNION ALL SELECT 'packages_built', '', count(*) FROM published
            UNION ALL SELECT 'files_count', '', count(*) FROM files
            UNION ALL SELECT 'builds_size', '', coalesce(sum(filesize), 0) FROM files
            UNION ALL SELECT 'builds_time', '', coalesce(sum(extract(epoch FROM duration)), 0) FROM builds
            UNION ALL SELECT 'downloads', '', coalesce(sum(downloads), 0) FROM downloads_daily
            UNION ALL SELECT 'downloads_day', day::text, sum(downloads) FROM downloads_daily
                WHERE day > (now() AT TIME ZONE 'UTC')::date - 30 GROUP BY day
        ) AS t USING (counter, key)
        WHERE coalesce(k.value, 0) <> coalesce(t.value, 0)
        LIMIT the_limit
    ) UNION ALL (
        SELECT 'wrong-counter', package, concat_ws(' ', 'downloads of', package, nullif(day, '')),
            format('is stored as %s, but should be %s', coalesce(k.downloads, 0), coalesce(t.downloads, 0))
        FROM (
            SELECT package, '' AS day, downloads FROM downloads_ever
            UNION ALL SELECT package, day::text, downloads FROM downloads_recent
                WHERE day > (now() AT TIME ZONE 'UTC')::date - 30
        ) AS k
        FULL JOIN (
            SELECT package, '' AS day, sum(downloads) AS downloads FROM downloads_daily GROUP BY package
            UNION ALL SELECT package, day::text, sum(downloads) FROM downloads_daily
                WHERE day > (now() AT TIME ZONE 'UTC')::date - 30 GROUP BY package, day
        ) AS t USING (package, day)
        WHERE coalesce(k.downloads, 0) <> coalesce(t.downloads, 0)
        LIMIT the_limit
    ) UNION ALL (
        SELECT 'late-rewrite', package, '', format('its pages have been waiting to be written since %s', added_at)
        FROM rewrites_pending WHERE added_at < now() - interval '1 hour'
        LIMIT the_limit
    ) UNION ALL (
        SELECT 'orphan', o.package, o.subject, o.why FROM (
            SELECT v.package, v.version AS subject, 'a version of a missing package' AS why
                FROM versions v WHERE NOT EXISTS (SELECT FROM packages p WHERE p.package = v.package)
            UNION ALL
            SELECT n.package, n.name, 'an alias of a missing package'
                FROM package_names n WHERE NOT EXISTS (SELECT FROM packages p WHERE p.package = n.package)
            UNION ALL
            SELECT b.package, b.version, format('build %s belongs to a missing version', b.build_id)
                FROM builds b LEFT JOIN versions v USING (package, version) WHERE v.version IS NULL
            UNION ALL
            SELECT '', f.filename, format('a file of the missing build %s', f.build_id)
                FROM files f LEFT JOIN builds b USING (build_id) WHERE b.build_id IS NULL
            UNION ALL
            SELECT '', d.filename, format('a dependency on %s of a missing file', d.dependency)
                FROM dependencies d LEFT JOIN files f USING (filename) WHERE f.filename IS NULL
            UNION ALL
            SELECT l.package, l.version, format('a lease of %s for a missing version', l.label)
                FROM leases l LEFT JOIN versions v USING (package, version) WHERE v.version IS NULL
            UNION ALL
            SELECT '', l.build_id::text, 'the log of a missing build'
                FROM build_logs_pending l LEFT JOIN builds b USING (build_id) WHERE b.build_id IS NULL
        ) AS o LIMIT the_limit
    ) UNION ALL (
        SELECT 'contradiction', c.package, c.subject, c.why FROM (
            SELECT b.package, f.filename AS subject, format('a file of build %s, which failed', f.build_id) AS why
                FROM files f JOIN builds b USING (build_id) WHERE NOT b.status
            UNION ALL
            SELECT b.package, f.filename, 'a file with the name of another package'
                FROM files f JOIN builds b USING (build_id)
                WHERE _canonical_name(split_part(f.filename, '-', 1)) <> b.package
                OR _canonical_name(f.package_tag) <> b.package
            UNION ALL
            SELECT b.package, f.filename, 'its tags differ from its file name'
                FROM files f JOIN builds b USING (build_id)
                WHERE NOT starts_with(f.filename, f.package_tag || '-' || f.package_version_tag || '-')
                OR NOT starts_with(reverse(f.filename), reverse(
                    format('-%s-%s-%s.whl', f.py_version_tag, f.abi_tag, f.platform_tag)
                ))
            UNION ALL
            SELECT p.package, '', 'its name is not normalized'
                FROM packages p WHERE _canonical_name(p.package) <> p.package
            UNION ALL
            SELECT n.package, n.name, 'its alias is the name of another package'
                FROM package_names n JOIN packages p ON p.package = _canonical_name(n.name)
                WHERE p.package <> n.package
            UNION ALL
            SELECT l.package, l.version, format('is leased for %s, which is not an ABI of this farm', l.abi_tag)
                FROM leases l WHERE NOT EXISTS (SELECT FROM build_abis a WHERE a.abi_tag = l.abi_tag)
        ) AS c LIMIT the_limit
    );
$$;
