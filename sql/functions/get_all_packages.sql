-- Returns all packages.
CREATE FUNCTION piwheels.get_all_packages() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM packages;
$$;
