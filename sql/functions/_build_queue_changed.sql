-- The queue has changed: it is counted, and whoever listens is told once this transaction is committed (once, however
-- often it is said).
CREATE FUNCTION piwheels._build_queue_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM _count('builds_pending', abi_tag, count(*)), pg_notify('piwheels_queue', '')
            FROM now_is GROUP BY abi_tag;
    ELSE
        PERFORM _count('builds_pending', abi_tag, -count(*)), pg_notify('piwheels_queue', '')
            FROM was GROUP BY abi_tag;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER counted_added AFTER INSERT ON public.build_queue
    REFERENCING NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._build_queue_changed();
CREATE TRIGGER counted_removed AFTER DELETE ON public.build_queue
    REFERENCING OLD TABLE AS was
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._build_queue_changed();
