-- Records that these slaves are in quarantine, and no others.
CREATE FUNCTION piwheels.save_quarantines(
    the_owners text[], the_identities text[], the_abis text[], the_reasons text[]
) RETURNS void LANGUAGE sql AS $$
    DELETE FROM slave_quarantines q WHERE (q.owner, q.identity, q.abi_tag) NOT IN (
        SELECT * FROM unnest(the_owners, the_identities, the_abis)
    );
    INSERT INTO slave_quarantines (owner, identity, abi_tag, reason)
        SELECT DISTINCT ON (1, 2, 3) * FROM unnest(the_owners, the_identities, the_abis, the_reasons)
        ON CONFLICT (owner, identity, abi_tag) DO UPDATE SET reason = EXCLUDED.reason;
$$;
