-- Returns the versions of packages, as they are spelled here.
CREATE FUNCTION piwheels.get_spellings(the_packages text[]) RETURNS TABLE (package text, version text)
LANGUAGE sql STABLE AS $$
    SELECT package, version FROM versions WHERE package = ANY (the_packages);
$$;
