-- Compute anew all that is kept, because somebody asks for it. Who changes something meanwhile waits.
CREATE FUNCTION piwheels.refresh_kept() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL lock_timeout = '20s';
    PERFORM _queue_lock(true);
    PERFORM _refresh_kept();
END
$$;
