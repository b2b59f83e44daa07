-- Returns the ABIs, or only those that are active.
CREATE FUNCTION piwheels.get_build_abis(active_only boolean) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT abi_tag FROM build_abis WHERE skip = '' OR NOT active_only ORDER BY position, abi_tag;
$$;
