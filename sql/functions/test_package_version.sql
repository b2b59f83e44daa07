-- Returns whether a version exists.
CREATE FUNCTION piwheels.test_package_version(the_package text, the_version text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM versions WHERE package = the_package AND version = the_version);
$$;
