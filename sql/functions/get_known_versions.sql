-- Returns the versions of a package (KnownVersion in core/database/rows.py): their known source distributions in the upstream
-- index, and whether they are yanked there.
CREATE FUNCTION piwheels.get_known_versions(the_package text)
RETURNS TABLE (version text, sources text[], yanked boolean) LANGUAGE sql STABLE AS $$
    SELECT version, sources, yanked_upstream FROM versions WHERE package = the_package AND skip <> 'deleted';
$$;
