-- Returns those of these versions that some Pythons cannot use: their Requires-Python, and the mask of these (core/pythons.py).
CREATE FUNCTION piwheels.get_requirements(the_packages text[], the_versions text[])
RETURNS TABLE (package text, version text, requires_python text, excluded bigint) LANGUAGE sql STABLE AS $$
    SELECT v.package, v.version, v.requires_python, v.excluded
    FROM (SELECT DISTINCT * FROM unnest(the_packages, the_versions) AS k (package, version)) AS k
    JOIN versions v USING (package, version)
    WHERE v.excluded <> 0;
$$;
