-- Returns the ABIs, or only those with active targets.
CREATE FUNCTION piwheels.get_build_abis(active_only boolean) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT abi_tag FROM build_abis a
    WHERE NOT active_only OR EXISTS (SELECT FROM active_targets t WHERE t.abi_tag = a.abi_tag)
    ORDER BY position, abi_tag;
$$;
