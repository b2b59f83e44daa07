-- Returns what is marked as deleted and still exists: packages (version is null), and versions of other packages.
CREATE FUNCTION piwheels.get_deletions() RETURNS TABLE (package text, version text)
LANGUAGE sql STABLE AS $$
    SELECT p.package, NULL FROM packages p WHERE p.skip = 'deleted'
    UNION ALL
    SELECT v.package, v.version FROM versions v JOIN packages p USING (package)
    WHERE v.skip = 'deleted' AND p.skip <> 'deleted'
    ORDER BY 1, 2;
$$;
