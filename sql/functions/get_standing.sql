-- Returns failures that stand, in the order of package and number: those after the_package and the_build, up to the_last
-- package. Planned: also those that are to be tried again later. Failed: the recipes with which the version has failed for that
-- target. Held: the attempt after a failure of the farm waits for an operator; reason and subject are those of that failure.
-- Failures without a platform are left out, because no build would end their retry.
CREATE FUNCTION piwheels.get_standing(
    the_package text, the_build bigint, the_last text, the_planned boolean, the_limit integer
)
RETURNS TABLE (
    build_id bigint, package text, version text, platform text, abi_tag text, reason text, subject text, recipe jsonb,
    failed jsonb, held boolean
) LANGUAGE sql STABLE AS $$
    SELECT f.build_id, f.package, f.version, f.platform, f.abi_tag, coalesce(h.reason, f.reason), coalesce(h.subject, f.subject),
        (SELECT r.content FROM builds b JOIN recipes r USING (recipe_id) WHERE b.build_id = f.build_id),
        (
            SELECT coalesce(jsonb_agg(DISTINCT r.content), '[]') FROM builds b JOIN recipes r USING (recipe_id)
            WHERE b.package = f.package AND b.version = f.version AND b.platform = f.platform AND b.abi_tag = f.abi_tag
            AND NOT b.status
        ),
        h.build_id IS NOT NULL
    FROM failures f
    LEFT JOIN retries t USING (package, version, platform, abi_tag)
    LEFT JOIN builds h ON h.build_id = t.build_id AND t.due = 'infinity'
    WHERE f.package BETWEEN the_package AND the_last AND (f.package, f.build_id) > (the_package, the_build)
    AND f.platform <> '' AND (the_planned OR t.due IS NULL OR t.due = 'infinity')
    ORDER BY f.package, f.build_id
    LIMIT the_limit;
$$;
