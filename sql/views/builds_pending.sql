-- Defines which versions need a build: for each version the first active ABI without a build attempt and without a file
-- that installers for it accept (serves in core/wheels/tags.py). If there is none, the first active ABI whose only failure
-- needs a second opinion (build_opinions). Skipped and quarantined versions need none.
-- The table build_queue stores the rows of this view.
CREATE VIEW piwheels.builds_pending AS
SELECT v.package, v.version, wanted.abi_tag, v.released, wanted.failed_by, wanted.failed_at
FROM public.versions v
JOIN public.packages p USING (package)
CROSS JOIN LATERAL (
    SELECT a.abi_tag, o.failed_by, o.failed_at
    FROM public.build_abis a
    LEFT JOIN piwheels.build_opinions o
        ON o.package = v.package AND o.version = v.version AND o.abi_tag = a.abi_tag
    WHERE a.skip = ''
    AND o.settled IS NOT TRUE
    AND NOT EXISTS (
        SELECT FROM public.builds b
        CROSS JOIN LATERAL (
            SELECT piwheels._file_tags(f.py_version_tag, f.abi_tag, f.platform_tag) AS tags FROM public.files f
            WHERE f.build_id = b.build_id
            OFFSET 0  -- an optimization fence: find the builds of this version first, then their files
        ) AS f
        WHERE b.package = v.package AND b.version = v.version
        AND f.tags && a.accepted
    )
    ORDER BY o.failed_at IS NOT NULL, a.position, a.abi_tag
    LIMIT 1
) AS wanted
WHERE v.skip = '' AND p.skip = '' AND NOT v.removing AND NOT p.removing
AND NOT v.quarantined AND p.status <> 'quarantined';
