-- The versions of a package with their source distributions upstream, as far as we were told.
CREATE FUNCTION piwheels.get_upstream_sources(the_package text) RETURNS TABLE (version text, sources text[])
LANGUAGE sql STABLE AS $$
    SELECT version, sources FROM versions WHERE package = the_package AND skip <> 'deleted';
$$;
