-- Has the builds of a package begin with an operator's recipe; null or empty: with none. Returns whether that is a change.
CREATE FUNCTION piwheels.set_recipe(the_package text, the_content jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    number CONSTANT bigint := _recipe(the_content);
BEGIN
    IF number IS NULL THEN
        DELETE FROM project_recipes WHERE package = the_package;
    ELSE
        INSERT INTO project_recipes AS p (package, recipe_id, by_operator)
            SELECT package, number, true FROM packages WHERE package = the_package
            ON CONFLICT (package) DO UPDATE SET recipe_id = EXCLUDED.recipe_id, by_operator = true, since = now()
            WHERE (p.recipe_id, p.by_operator) <> (EXCLUDED.recipe_id, true);
    END IF;
    IF FOUND THEN
        PERFORM add_rewrite(the_package, 'PROJECT'), pg_notify('piwheels_queue', '');
    END IF;
    RETURN FOUND;
END
$$;
