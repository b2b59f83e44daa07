-- Returns the number of a recipe, which is stored if it is new. Null: builds without a recipe have none.
CREATE FUNCTION piwheels._recipe(the_content jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    IF the_content IS NULL OR the_content IN ('null', '{}') THEN
        RETURN NULL;
    END IF;
    INSERT INTO recipes (content) VALUES (the_content) ON CONFLICT (md5(content::text)) DO NOTHING;
    SELECT recipe_id INTO found FROM recipes
        WHERE md5(content::text) = md5(the_content::text) AND content = the_content;
    RETURN found;
END
$$;
