-- Has failed builds tried again, each with a recipe (null: none) and as an attempt after the steps in tried. It replaces what was
-- planned for the same version and target, unless that is in the queue already. Requests the pages of their packages. Returns
-- the package of each build.
CREATE FUNCTION piwheels.retry_builds(the_retries jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    numbers CONSTANT bigint[] := ARRAY(
        SELECT k.build_id FROM jsonb_to_recordset(the_retries) AS k (build_id bigint) ORDER BY 1
    );
BEGIN
    PERFORM _lock_versions(array_agg(package), array_agg(version)) FROM (
        SELECT DISTINCT package, version FROM builds WHERE build_id = ANY (numbers)
    ) AS k;
    DELETE FROM retries t USING builds b
        WHERE b.build_id = ANY (numbers) AND NOT t.ready
        AND (t.package, t.version, t.platform, t.abi_tag) = (b.package, b.version, b.platform, b.abi_tag);
    RETURN QUERY INSERT INTO retries AS t (
        build_id, package, version, platform, abi_tag, attempt, tried, recipe_id, due, ready
    )
        SELECT b.build_id, b.package, b.version, b.platform, b.abi_tag, k.attempt, k.tried, _recipe(k.recipe), now(), true
        FROM jsonb_to_recordset(the_retries) AS k (build_id bigint, attempt smallint, tried text[], recipe jsonb)
        JOIN builds b USING (build_id)
        WHERE NOT b.status AND b.platform <> ''
        ON CONFLICT DO NOTHING
        RETURNING t.package::text;
    PERFORM add_rewrite(package, 'PROJECT') FROM (
        SELECT DISTINCT package FROM builds WHERE build_id = ANY (numbers) ORDER BY package
    ) AS k;
END
$$;
