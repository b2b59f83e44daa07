-- Returns whether a package is marked as deleted.
CREATE FUNCTION piwheels.package_marked_deleted(the_package text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM packages WHERE package = the_package AND skip = 'deleted');
$$;
