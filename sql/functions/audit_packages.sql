-- Returns what the site must contain of these packages (AuditPackage in core/database/audit.py).
CREATE FUNCTION piwheels.audit_packages(the_packages text[])
RETURNS TABLE (
    package text, deleted boolean, status text, rewriting boolean, names text[], leased text[],
    builds json, files json
) LANGUAGE sql STABLE AS $$
    SELECT p.package, p.skip = 'deleted', p.status,
        EXISTS (SELECT FROM rewrites_pending r WHERE r.package = p.package),
        ARRAY(
            SELECT n.name::text FROM package_names n
            WHERE n.package = p.package AND n.name <> p.package ORDER BY n.name
        ),
        ARRAY(
            SELECT l.version::text FROM leases l
            WHERE l.package = p.package AND l.expires > now() - interval '1 hour'
        ),
        (
            SELECT coalesce(json_agg(json_build_array(
                b.build_id, b.version, EXISTS (SELECT FROM build_logs_pending l WHERE l.build_id = b.build_id),
                v.skip <> 'deleted'
            ) ORDER BY b.build_id), '[]')
            FROM builds b JOIN versions v USING (package, version) WHERE b.package = p.package
        ),
        (
            SELECT coalesce(json_agg(json_build_object(
                'filename', f.filename,
                'version', b.version,
                'filesize', f.filesize,
                'filehash', f.filehash,
                'metadata_hash', f.metadata_hash,
                'requires_python', f.requires_python,
                'yanked', v.yanked,
                'shown', v.skip <> 'deleted',
                'listed', v.skip <> 'deleted' AND NOT v.quarantined AND p.status <> 'quarantined'
            ) ORDER BY f.filename), '[]')
            FROM builds b JOIN versions v USING (package, version) JOIN files f USING (build_id)
            WHERE b.package = p.package
        )
    FROM packages p WHERE p.package = ANY (the_packages) ORDER BY p.package;
$$;
