-- Sets the description of a package.
CREATE FUNCTION piwheels.set_package_description(the_package text, the_description text) RETURNS void
LANGUAGE sql AS $$
    UPDATE packages SET description = the_description
    WHERE package = the_package AND description <> the_description;
$$;
