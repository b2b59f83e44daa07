-- Returns each Requires-Python with the mask of the Pythons that it excludes, as it is stored, and a version that has both.
CREATE FUNCTION piwheels.audit_requirements()
RETURNS TABLE (requires_python text, excluded bigint, package text, version text, versions bigint) LANGUAGE sql STABLE AS $$
    SELECT v.requires_python, v.excluded, min(v.package), (array_agg(v.version ORDER BY v.package, v.version))[1], count(*)
    FROM versions v WHERE v.requires_python IS NOT NULL
    GROUP BY v.requires_python, v.excluded
    ORDER BY 3, 4;
$$;
