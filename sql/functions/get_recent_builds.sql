-- Returns the most recent builds, newest first.
CREATE FUNCTION piwheels.get_recent_builds(the_limit integer)
RETURNS TABLE (
    build_id bigint, slave_id bigint, label text, package text, version text, abi_tag text, status boolean,
    duration interval, files bigint, built_at timestamptz, again boolean
) LANGUAGE sql STABLE AS $$
    SELECT b.build_id, b.built_by, b.label, b.package, b.version, b.abi_tag, b.status, b.duration,
        (SELECT count(*) FROM files f WHERE f.build_id = b.build_id), b.built_at,
        EXISTS (
            SELECT FROM build_opinions o
            WHERE o.package = b.package AND o.version = b.version AND o.platform = b.platform
            AND o.abi_tag = b.abi_tag AND NOT o.settled
        )
    FROM builds b
    ORDER BY b.build_id DESC
    LIMIT the_limit;
$$;
