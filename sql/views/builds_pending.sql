-- Defines which builds are needed: of each version, for each active target that has no file which its installers accept
-- (serves in core/wheels/serving.py), and no result that builds settle. Skipped and quarantined versions need none, nor does a
-- target whose Python the version excludes. A build that is to be tried again (retries) is needed as soon as it is ready,
-- whatever was settled, and not before. Failures of the farm (NOT counts) are no results.
--
-- A version without any build has one row, for the target any/any: a slave of any active target may begin. If it excludes some of
-- these, it has a row for each of the others. One target of the version is built at a time (exclusive = 'version') while its
-- wheel may serve the others: until a build has succeeded, or if a wheel is for several platforms. If wheels are for several
-- ABIs of a platform, it is one target of each platform ('platform'). Otherwise all are built at once (''). The wheels of
-- free-threaded interpreters say nothing about those of others, and the other way round.
-- The table build_queue stores the rows of this view.
CREATE VIEW piwheels.builds_pending AS
SELECT v.package, v.version, wanted.platform, wanted.abi_tag, wanted.exclusive,
    piwheels._due(greatest(v.added, wanted.since), v.released, p.popularity, v.urgency) AS due,
    wanted.failed_by, wanted.failed_at
FROM public.versions v
JOIN public.packages p USING (package)
CROSS JOIN LATERAL (
    SELECT count(*) > 0 AS tried, coalesce(bool_or(b.status), false) AS built
    FROM public.builds b WHERE b.package = v.package AND b.version = v.version AND b.counts
) AS done
CROSS JOIN LATERAL (
    SELECT array_agg(tag) AS tags,
        bool_or(split_part(tag, '-', 3) = 'any') AS for_platforms,
        bool_or(split_part(tag, '-', 2) IN ('none', 'abi3')) AS for_abis,
        bool_or(split_part(tag, '-', 2) ~ '^cp[0-9]+[a-su-z]*$') AS for_one,
        bool_or(split_part(tag, '-', 2) IN ('none', 'abi3t')) AS for_abis_t,
        bool_or(split_part(tag, '-', 2) ~ '^cp[0-9]+[a-z]*t') AS for_one_t
    FROM public.builds b
    CROSS JOIN LATERAL (
        SELECT piwheels._file_tags(f.py_version_tag, f.abi_tag, f.platform_tag) AS tags FROM public.files f
        WHERE f.build_id = b.build_id
        OFFSET 0  -- an optimization fence: find the builds of this version first, then their files
    ) AS f
    CROSS JOIN LATERAL unnest(f.tags) AS tag
    WHERE done.tried AND b.package = v.package AND b.version = v.version
) AS made
CROSS JOIN LATERAL (
    SELECT v.excluded <> 0 AND EXISTS (
        SELECT FROM piwheels.active_targets a WHERE NOT piwheels._supports(v.excluded, a.minor)
    ) AS some
) AS excludes
CROSS JOIN LATERAL (
    SELECT 'any' AS platform, 'any' AS abi_tag, 'version' AS exclusive, min(a.since) AS since,
        NULL::text AS failed_by, NULL::timestamptz AS failed_at
    FROM piwheels.active_targets a
    WHERE NOT done.tried AND NOT excludes.some AND NOT EXISTS (
        SELECT FROM public.retries r WHERE r.package = v.package AND r.version = v.version AND NOT r.ready
    )
    HAVING count(*) > 0
    UNION ALL
    SELECT a.platform, a.abi_tag,
        CASE WHEN NOT done.built OR made.for_platforms THEN 'version'
            WHEN CASE WHEN a.abi_tag ~ '^cp[0-9]+[a-z]*t' THEN made.for_abis_t ELSE made.for_abis END THEN 'platform'
            WHEN CASE WHEN a.abi_tag ~ '^cp[0-9]+[a-z]*t' THEN made.for_one_t ELSE made.for_one END THEN ''
            ELSE 'version' END,
        a.since, CASE WHEN r.ready THEN NULL ELSE o.failed_by END, CASE WHEN r.ready THEN NULL ELSE o.failed_at END
    FROM piwheels.active_targets a
    CROSS JOIN LATERAL (
        SELECT min(b.owner) AS failed_by, min(b.built_at) AS failed_at,
            bool_or(b.status OR b.final) OR min(b.owner) <> max(b.owner)
            OR max(b.built_at) >= min(b.built_at) + interval '24 hours' AS settled
        FROM public.builds b
        WHERE b.package = v.package AND b.version = v.version AND b.abi_tag = a.abi_tag
        AND (a.platform = 'any' OR b.platform IN (a.platform, '')) AND b.counts
    ) AS o
    CROSS JOIN LATERAL (
        SELECT bool_and(r.ready) AS ready
        FROM public.retries r
        WHERE r.package = v.package AND r.version = v.version AND r.abi_tag = a.abi_tag
        AND (a.platform = 'any' OR r.platform IN (a.platform, ''))
    ) AS r
    WHERE (done.tried OR excludes.some) AND piwheels._supports(v.excluded, a.minor)
    AND (made.tags && a.accepted) IS NOT TRUE AND coalesce(r.ready, o.settled IS NOT TRUE)
) AS wanted
WHERE v.skip = '' AND p.skip = '' AND NOT v.removing AND NOT p.removing
AND NOT v.quarantined AND p.status <> 'quarantined';
