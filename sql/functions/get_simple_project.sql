-- Returns a project for the simple index (SimpleProject in core/database/rows.py). Omits what is marked as deleted, and the
-- files of quarantined versions.
CREATE FUNCTION piwheels.get_simple_project(the_package text) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'package', p.package,
        'status', p.status,
        'description', coalesce(nullif(p.description, ''), p.summary),
        'versions', (
            SELECT coalesce(json_agg(v.version ORDER BY v.version), '[]')
            FROM versions v WHERE v.package = p.package AND v.skip <> 'deleted'
        ),
        'files', (
            SELECT coalesce(json_agg(json_build_object(
                'filename', f.filename,
                'filesize', f.filesize,
                'filehash', f.filehash,
                'requires_python', f.requires_python,
                'yanked', v.yanked,
                'yank_reason', v.yank_reason,
                'metadata_hash', f.metadata_hash,
                'published_at', f.published_at,
                'builder_abi', b.abi_tag,
                'version', v.version,
                'apt_dependencies', _apt_dependencies(f.filename, b.abi_tag)
            ) ORDER BY f.filename), '[]')
            FROM versions v JOIN builds b USING (package, version) JOIN files f USING (build_id)
            WHERE v.package = p.package AND v.skip <> 'deleted' AND NOT v.quarantined
        )
    )
    FROM packages p WHERE p.package = the_package AND p.skip <> 'deleted';
$$;
