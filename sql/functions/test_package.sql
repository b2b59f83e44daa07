-- Returns whether a package exists.
CREATE FUNCTION piwheels.test_package(the_package text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM packages WHERE package = the_package);
$$;
