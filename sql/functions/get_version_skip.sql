-- Returns why a version is not built (its own reason before that of its package), '' if it is built, null if it does
-- not exist.
CREATE FUNCTION piwheels.get_version_skip(the_package text, the_version text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN v.skip <> '' THEN v.skip
        WHEN p.skip <> '' THEN p.skip
        WHEN v.removing OR p.removing THEN 'its builds are being removed'
        WHEN v.quarantined OR p.status = 'quarantined' THEN 'quarantined'
        ELSE _not_for(v.requires_python, v.excluded)
    END
    FROM versions v JOIN packages p USING (package)
    WHERE v.package = the_package AND v.version = the_version;
$$;
