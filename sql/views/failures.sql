-- The failures that stand: one build for each version and target that has failed, and that a further attempt could serve. Of several
-- attempts it is the last one without a recipe that counts, because the others say less about the source; without such a one,
-- the last. Versions that are skipped, served by another build, or in the queue for another attempt are left out.
CREATE VIEW piwheels.failures AS
SELECT b.build_id, b.package, b.version, b.platform, b.abi_tag, b.built_at, b.reason, b.subject, b.cause
FROM public.builds b
JOIN public.versions v USING (package, version)
JOIN public.packages p USING (package)
WHERE NOT b.status
AND NOT EXISTS (
    SELECT FROM public.builds o
    WHERE o.package = b.package AND o.version = b.version AND o.abi_tag = b.abi_tag AND o.platform = b.platform
    AND (o.status OR (o.recipe_id IS NULL AND o.counts, o.build_id) > (b.recipe_id IS NULL AND b.counts, b.build_id))
)
AND NOT EXISTS (
    SELECT FROM public.retries r
    WHERE r.package = b.package AND r.version = b.version AND r.abi_tag = b.abi_tag AND r.platform = b.platform AND r.ready
)
AND EXISTS (
    SELECT FROM piwheels.active_targets a
    WHERE a.abi_tag = b.abi_tag AND (a.platform = 'any' OR b.platform IN (a.platform, ''))
    AND NOT EXISTS (
        SELECT FROM public.builds o
        CROSS JOIN LATERAL (
            SELECT piwheels._file_tags(f.py_version_tag, f.abi_tag, f.platform_tag) AS tags FROM public.files f
            WHERE f.build_id = o.build_id
            OFFSET 0  -- find the builds of this version first, then their files
        ) AS f
        WHERE o.package = b.package AND o.version = b.version AND f.tags && a.accepted
    )
)
AND v.skip = '' AND p.skip = '' AND NOT v.removing AND NOT p.removing
AND NOT v.quarantined AND p.status <> 'quarantined';
