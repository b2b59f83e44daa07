-- Returns what the intake of a build has to know (Published in core/database/rows.py): the names and hashes of the package's
-- files, also of the removed ones, and upstream's wheels of the version.
CREATE FUNCTION piwheels.get_published(the_package text, the_version text)
RETURNS TABLE (files json, retired json, upstream_wheels text) LANGUAGE sql STABLE AS $$
    SELECT
        (SELECT coalesce(json_object_agg(filename, filehash), '{}') FROM get_package_files(the_package)),
        (SELECT coalesce(json_object_agg(filename, filehash), '{}') FROM retired_files WHERE package = the_package),
        coalesce((
            SELECT v.upstream_wheels FROM versions v WHERE v.package = the_package AND v.version = the_version
        ), '');
$$;
