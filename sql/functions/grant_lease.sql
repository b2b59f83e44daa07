-- Creates or replaces the lease of a build. Returns false if the version does not exist.
CREATE FUNCTION piwheels.grant_lease(
    the_package text, the_version text, the_platform text, the_abi text, the_label text, the_end timestamptz,
    the_holder text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _async_commit();
    INSERT INTO leases AS l (package, version, platform, abi_tag, label, expires, holder)
        SELECT package, version, the_platform, the_abi, the_label, the_end, the_holder FROM versions
        WHERE package = the_package AND version = the_version FOR KEY SHARE
        ON CONFLICT (package, version, platform, abi_tag) DO UPDATE
        SET label = EXCLUDED.label, since = EXCLUDED.since, expires = EXCLUDED.expires, holder = EXCLUDED.holder;
    RETURN FOUND;
END
$$;
