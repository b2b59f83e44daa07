-- Ends builds for targets, for a reason. Returns those that were active.
CREATE FUNCTION piwheels.retire_targets(the_platforms text[], the_abis text[], the_reason text)
RETURNS TABLE (platform text, abi_tag text) LANGUAGE sql AS $$
    SELECT _queue_lock(true);
    UPDATE targets t SET skip = the_reason
        FROM unnest(the_platforms, the_abis) AS k (platform, abi_tag)
        WHERE t.platform = k.platform AND t.abi_tag = k.abi_tag AND t.skip = ''
        RETURNING t.platform, t.abi_tag;
$$;
