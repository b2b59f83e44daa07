-- Returns the files of a version.
CREATE FUNCTION piwheels.get_version_files(the_package text, the_version text) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT f.filename FROM builds b JOIN files f USING (build_id)
    WHERE b.package = the_package AND b.version = the_version ORDER BY f.filename;
$$;
