-- Returns the versions of a package that are marked as deleted.
CREATE FUNCTION piwheels.get_versions_deleted(the_package text) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT version FROM versions WHERE package = the_package AND skip = 'deleted' ORDER BY version;
$$;
