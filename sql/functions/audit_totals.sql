-- How much there is to look at, of these packages or (null) of all: packages, files, bytes.
CREATE FUNCTION piwheels.audit_totals(the_packages text[])
RETURNS TABLE (packages bigint, files bigint, bytes bigint) LANGUAGE sql STABLE AS $$
    SELECT
        (SELECT count(*) FROM packages p WHERE the_packages IS NULL OR p.package = ANY (the_packages)),
        count(*), coalesce(sum(f.filesize), 0)::bigint
    FROM files f JOIN builds b USING (build_id)
    WHERE the_packages IS NULL OR b.package = ANY (the_packages);
$$;
