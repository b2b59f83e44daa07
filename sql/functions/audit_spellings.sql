-- Returns those of these names that are names of packages, in any spelling, and whether the package is marked as deleted.
CREATE FUNCTION piwheels.audit_spellings(the_names text[])
RETURNS TABLE (name text, package text, deleted boolean) LANGUAGE sql STABLE AS $$
    SELECT n.name, n.package, p.skip = 'deleted' FROM package_names n JOIN packages p USING (package)
        WHERE n.name = ANY (the_names) AND n.name <> p.package
    UNION ALL
    SELECT p.package, p.package, p.skip = 'deleted' FROM packages p WHERE p.package = ANY (the_names);
$$;
