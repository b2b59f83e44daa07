-- Returns the other spellings of a package name.
CREATE FUNCTION piwheels.get_package_aliases(the_package text) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT name FROM package_names WHERE package = the_package AND name <> the_package ORDER BY name;
$$;
