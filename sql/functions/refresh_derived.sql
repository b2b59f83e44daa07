-- Rebuilds all derived tables; blocks writers.
CREATE FUNCTION piwheels.refresh_derived() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL lock_timeout = '20s';
    PERFORM _queue_lock(true);
    PERFORM _refresh_derived();
END
$$;
