-- Locks the ABIs until the transaction ends: shared for a transaction that updates some versions of the queue, exclusive
-- for one that changes an ABI and therefore updates all versions.
CREATE FUNCTION piwheels._queue_lock(alone boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(hashtext('piwheels'), hashtext('build_abis'));
    ELSE
        PERFORM pg_advisory_xact_lock_shared(hashtext('piwheels'), hashtext('build_abis'));
    END IF;
END
$$;
