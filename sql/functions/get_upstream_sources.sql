-- Returns the versions of a package with their known source distributions in the upstream index.
CREATE FUNCTION piwheels.get_upstream_sources(the_package text) RETURNS TABLE (version text, sources text[])
LANGUAGE sql STABLE AS $$
    SELECT version, sources FROM versions WHERE package = the_package AND skip <> 'deleted';
$$;
