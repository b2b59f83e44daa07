-- Returns how many builds an additional target would add to the queue now. Versions without any build wait in any case, unless they
-- exclude an active target.
CREATE FUNCTION piwheels.preview_target(the_platform text, the_abi text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*)
    FROM versions v JOIN packages p USING (package)
    WHERE v.skip = '' AND p.skip = '' AND NOT v.removing AND NOT p.removing
    AND NOT v.quarantined AND p.status <> 'quarantined'
    AND _supports(v.excluded, _minor(the_abi))
    AND (
        EXISTS (SELECT FROM builds b WHERE b.package = v.package AND b.version = v.version AND b.counts)
        OR v.excluded <> 0 AND EXISTS (SELECT FROM active_targets a WHERE NOT _supports(v.excluded, a.minor))
    )
    AND NOT EXISTS (
        SELECT FROM builds b
        CROSS JOIN LATERAL (
            SELECT _file_tags(f.py_version_tag, f.abi_tag, f.platform_tag) AS tags FROM files f
            WHERE f.build_id = b.build_id
            OFFSET 0
        ) AS f
        WHERE b.package = v.package AND b.version = v.version AND f.tags && _accepted_tags(the_platform, the_abi)
    )
    AND (
        SELECT bool_or(b.status OR b.final) OR min(b.owner) <> max(b.owner)
            OR max(b.built_at) >= min(b.built_at) + interval '24 hours'
        FROM builds b
        WHERE b.package = v.package AND b.version = v.version AND b.abi_tag = the_abi
        AND (the_platform = 'any' OR b.platform IN (the_platform, '')) AND b.counts
    ) IS NOT TRUE;
$$;
