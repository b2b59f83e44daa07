-- Extends leases.
CREATE FUNCTION piwheels.renew_leases(
    the_packages text[], the_versions text[], the_platforms text[], the_abis text[], the_end timestamptz
) RETURNS void LANGUAGE sql AS $$
    SELECT _async_commit();
    UPDATE leases l SET expires = the_end
    FROM unnest(the_packages, the_versions, the_platforms, the_abis) AS k (package, version, platform, abi_tag)
    WHERE l.package = k.package AND l.version = k.version AND l.platform = k.platform AND l.abi_tag = k.abi_tag;
$$;
