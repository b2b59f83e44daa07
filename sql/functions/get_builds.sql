-- Returns the builds of these versions, oldest first.
CREATE FUNCTION piwheels.get_builds(the_packages text[], the_versions text[])
RETURNS TABLE (
    build_id bigint, package text, version text, abi_tag text, platform text, status boolean,
    duration interval, built_at timestamptz, filenames text[], reason text, subject text, cause text, counts boolean,
    recipe jsonb, retry_at timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT b.build_id, b.package, b.version, b.abi_tag, b.platform, b.status, b.duration, b.built_at,
        ARRAY(SELECT f.filename::text FROM files f WHERE f.build_id = b.build_id ORDER BY f.filename),
        b.reason, b.subject, b.cause, b.counts,
        (SELECT r.content FROM recipes r WHERE r.recipe_id = b.recipe_id),
        (SELECT r.due FROM retries r WHERE r.build_id = b.build_id AND r.due <> 'infinity')
    FROM (SELECT DISTINCT * FROM unnest(the_packages, the_versions) AS k (package, version)) AS k
    JOIN builds b USING (package, version)
    ORDER BY b.build_id;
$$;
