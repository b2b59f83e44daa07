-- Returns the number of packages and bytes to check, of these packages or (null) of all.
CREATE FUNCTION piwheels.audit_totals(the_packages text[]) RETURNS TABLE (packages bigint, bytes bigint)
LANGUAGE sql STABLE AS $$
    SELECT
        (SELECT count(*) FROM packages p WHERE the_packages IS NULL OR p.package = ANY (the_packages)),
        coalesce(sum(f.filesize), 0)::bigint
    FROM files f JOIN builds b USING (build_id)
    WHERE the_packages IS NULL OR b.package = ANY (the_packages);
$$;
