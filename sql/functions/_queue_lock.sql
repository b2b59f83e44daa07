-- Hold off changes of the ABIs until this transaction ends, or (alone) all changes of the queue: whoever considers
-- some versions must see the ABIs as they are, and whoever changes an ABI must see all versions.
CREATE FUNCTION piwheels._queue_lock(alone boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(hashtext('piwheels'), hashtext('build_abis'));
    ELSE
        PERFORM pg_advisory_xact_lock_shared(hashtext('piwheels'), hashtext('build_abis'));
    END IF;
END
$$;
