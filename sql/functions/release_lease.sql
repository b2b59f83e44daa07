-- Ends a lease.
CREATE FUNCTION piwheels.release_lease(the_package text, the_version text, the_platform text, the_abi text) RETURNS void
LANGUAGE sql AS $$
    SELECT _async_commit();
    DELETE FROM leases
    WHERE package = the_package AND version = the_version AND platform = the_platform AND abi_tag = the_abi;
$$;
