-- Returns the data of a project page (ProjectData in core/database/rows.py). Releases are pairs, because they have an order.
-- Omits what is marked as deleted, and the files of what is quarantined.
CREATE FUNCTION piwheels.get_project_data(the_package text) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'name', p.package,
        'description', coalesce(nullif(p.description, ''), p.summary),
        'status', p.status,
        'skip', p.skip,
        'recipe', (
            SELECT json_build_object('content', r.content, 'by_operator', s.by_operator)
            FROM project_recipes s JOIN recipes r USING (recipe_id) WHERE s.package = p.package
        ),
        'releases', (
            SELECT coalesce(json_agg(json_build_array(v.version, json_build_object(
                'released', v.released,
                'yanked', v.yanked,
                'yank_reason', v.yank_reason,
                'yanked_upstream', v.yanked AND v.yanked_upstream,
                'skip', coalesce(nullif(v.skip, ''), _not_for(v.requires_python, v.excluded)),
                'quarantined', v.quarantined,
                'requires_python', v.requires_python,
                'excluded', ARRAY(
                    SELECT abi_tag FROM active_targets WHERE v.excluded <> 0 AND NOT _supports(v.excluded, minor)
                    GROUP BY abi_tag ORDER BY min(position), abi_tag
                ),
                'builds', (
                    SELECT coalesce(json_agg(json_build_object(
                        'build_id', b.build_id,
                        'abi_tag', b.abi_tag,
                        'platform', b.platform,
                        'label', b.label,
                        'status', b.status,
                        'built_at', b.built_at,
                        'retry_at', (
                            SELECT o.failed_at + interval '24 hours' FROM build_opinions o
                            WHERE o.package = b.package AND o.version = b.version AND o.platform = b.platform
                            AND o.abi_tag = b.abi_tag
                            AND NOT o.settled
                        ),
                        'reason', b.reason,
                        'subject', b.subject,
                        'cause', b.cause,
                        'counts', b.counts,
                        'recipe', (SELECT r.content FROM recipes r WHERE r.recipe_id = b.recipe_id),
                        'next', (
                            SELECT json_build_object(
                                'due', nullif(t.due, 'infinity'), 'attempt', t.attempt,
                                'recipe', (SELECT r.content FROM recipes r WHERE r.recipe_id = t.recipe_id)
                            )
                            FROM retries t WHERE t.build_id = b.build_id
                        ),
                        'duration', extract(epoch FROM b.duration)::float8,
                        'fetched', (SELECT count(*) FROM fetches f WHERE f.build_id = b.build_id AND f.refused = ''),
                        'refused', ARRAY(
                            SELECT f.url FROM fetches f
                            WHERE f.build_id = b.build_id AND f.refused <> '' ORDER BY f.position
                        )
                    ) ORDER BY b.build_id), '[]')
                    FROM builds b WHERE b.package = v.package AND b.version = v.version
                ),
                'files', (
                    SELECT coalesce(json_object_agg(f.filename, json_build_object(
                        'hash', f.filehash,
                        'size', f.filesize,
                        'abi_builder', b.abi_tag,
                        'file_abi', f.abi_tag,
                        'platform', f.platform_tag,
                        'requires_python', f.requires_python,
                        'apt_dependencies', _apt_dependencies(f.filename, b.abi_tag),
                        'build_id', f.build_id,
                        'installs', f.installs,
                        'imports', f.imports,
                        'trial_why', f.trial_why,
                        'connects', f.connects,
                        'starts', f.starts
                    ) ORDER BY f.filename), '{}')
                    FROM builds b JOIN files f USING (build_id)
                    WHERE b.package = v.package AND b.version = v.version
                    AND NOT v.quarantined AND p.status <> 'quarantined'
                )
            )) ORDER BY v.released DESC, v.version DESC), '[]')
            FROM versions v WHERE v.package = p.package AND v.skip <> 'deleted'
        )
    )
    FROM packages p WHERE p.package = the_package AND p.skip <> 'deleted';
$$;
