-- Starts builds for targets; a position of null follows from the ABI. Activates those that exist, and changes their system and
-- position if they are given. Returns those that were not active.
CREATE FUNCTION piwheels.add_targets(
    the_platforms text[], the_abis text[], the_system text, the_position integer
) RETURNS TABLE (platform text, abi_tag text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(true);
    RETURN QUERY SELECT DISTINCT k.platform, k.abi_tag FROM unnest(the_platforms, the_abis) AS k (platform, abi_tag)
        WHERE NOT EXISTS (
            SELECT FROM active_targets a WHERE a.platform = k.platform AND a.abi_tag = k.abi_tag
        );
    INSERT INTO build_abis (abi_tag, position)
        SELECT DISTINCT abi, _abi_position(abi) FROM unnest(the_abis) AS abi
        ON CONFLICT DO NOTHING;
    IF EXISTS (SELECT FROM build_abis a WHERE a.abi_tag = ANY (the_abis) AND a.skip <> '') THEN
        -- Its other targets stay out of use.
        UPDATE targets t SET skip = a.skip FROM build_abis a
            WHERE a.abi_tag = t.abi_tag AND a.abi_tag = ANY (the_abis) AND a.skip <> '' AND t.skip = '';
        UPDATE build_abis a SET skip = '' WHERE a.abi_tag = ANY (the_abis);
    END IF;
    INSERT INTO targets AS t (platform, abi_tag, system, position)
        SELECT DISTINCT k.platform, k.abi_tag, the_system, the_position
        FROM unnest(the_platforms, the_abis) AS k (platform, abi_tag)
        ON CONFLICT ON CONSTRAINT targets_pkey DO UPDATE SET
            skip = '',
            since = CASE t.skip WHEN '' THEN t.since ELSE now() END,
            system = coalesce(nullif(the_system, ''), t.system),
            position = coalesce(the_position, t.position);
END
$$;
