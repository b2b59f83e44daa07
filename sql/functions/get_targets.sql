-- Returns all targets in their order; skip is their own reason, or that of their ABI. Pending: how many versions wait for a
-- first build for them; those that may begin with any target are counted as any/any.
CREATE FUNCTION piwheels.get_targets() RETURNS TABLE (
    platform text, abi_tag text, "position" integer, skip text, system text, since timestamptz, pending bigint
) LANGUAGE sql STABLE AS $$
    SELECT t.platform, t.abi_tag, t.position, coalesce(nullif(a.skip, ''), t.skip), t.system, t.since,
        _counter_value('builds_pending', t.platform || '/' || t.abi_tag)::bigint
    FROM targets t JOIN build_abis a USING (abi_tag)
    ORDER BY t.position, t.abi_tag, t.platform;
$$;
