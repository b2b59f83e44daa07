-- Returns the most recent builds, newest first.
CREATE FUNCTION piwheels.get_recent_builds(the_limit integer)
RETURNS TABLE (
    build_id bigint, slave_id bigint, label text, package text, version text, abi_tag text, status boolean,
    duration interval, files bigint, built_at timestamptz, again boolean, platform text, reason text, subject text,
    cause text, counts boolean, recipe jsonb, retry_at timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT b.build_id, b.built_by, b.label, b.package, b.version, b.abi_tag, b.status, b.duration,
        (SELECT count(*) FROM files f WHERE f.build_id = b.build_id), b.built_at,
        EXISTS (
            SELECT FROM build_opinions o
            WHERE o.package = b.package AND o.version = b.version AND o.platform = b.platform
            AND o.abi_tag = b.abi_tag AND NOT o.settled
        ),
        b.platform, b.reason, b.subject, b.cause, b.counts,
        (SELECT r.content FROM recipes r WHERE r.recipe_id = b.recipe_id),
        (SELECT r.due FROM retries r WHERE r.build_id = b.build_id AND r.due <> 'infinity')
    FROM builds b
    ORDER BY b.build_id DESC
    LIMIT the_limit;
$$;
