-- Returns the first recipes of projects after a package, by name. Files: how many of its files were made with a recipe.
CREATE FUNCTION piwheels.get_recipes(the_package text, the_limit integer)
RETURNS TABLE (package text, content jsonb, by_operator boolean, since timestamptz, files bigint)
LANGUAGE sql STABLE AS $$
    SELECT p.package, r.content, p.by_operator, p.since, (
        SELECT count(*) FROM builds b JOIN files f USING (build_id) WHERE b.package = p.package AND b.recipe_id IS NOT NULL
    )
    FROM project_recipes p JOIN recipes r USING (recipe_id)
    WHERE p.package > the_package
    ORDER BY p.package
    LIMIT the_limit;
$$;
