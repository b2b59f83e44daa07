-- Adds packages to published. The caller holds locks on their rows, so no transaction can find them without files.
CREATE FUNCTION piwheels._published_add(the_packages text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    added bigint;
BEGIN
    INSERT INTO published (package)
        SELECT package FROM unnest(the_packages) AS k (package)
        WHERE NOT EXISTS (SELECT FROM published p WHERE p.package = k.package)
        ORDER BY package ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    PERFORM _count('packages_built', '', added);
END
$$;
