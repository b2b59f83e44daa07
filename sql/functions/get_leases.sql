-- Returns the leases, including those that expired recently, whose slaves may still be building. Deletes older ones.
CREATE FUNCTION piwheels.get_leases() RETURNS TABLE (
    package text, version text, platform text, abi_tag text, label text, since timestamptz, expires timestamptz,
    holder text
) LANGUAGE sql AS $$
    DELETE FROM leases l WHERE l.expires <= now() - interval '7 days';
    SELECT l.package, l.version, l.platform, l.abi_tag, l.label, l.since, l.expires, l.holder FROM leases l
        ORDER BY l.since, l.package, l.version, l.platform, l.abi_tag;
$$;
