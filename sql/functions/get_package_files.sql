-- Returns the files of a package.
CREATE FUNCTION piwheels.get_package_files(the_package text)
RETURNS TABLE (filename text, filehash text) LANGUAGE sql STABLE AS $$
    SELECT f.filename, f.filehash FROM builds b JOIN files f USING (build_id)
    WHERE b.package = the_package ORDER BY f.filename;
$$;
