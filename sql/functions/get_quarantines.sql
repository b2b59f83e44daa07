-- Returns the slaves that are in quarantine.
CREATE FUNCTION piwheels.get_quarantines()
RETURNS TABLE (owner text, identity text, abi_tag text, reason text) LANGUAGE sql STABLE AS $$
    SELECT owner, identity, abi_tag, reason FROM slave_quarantines ORDER BY since, owner, identity, abi_tag;
$$;
