-- Counts changes of the queue, without second opinions, and notifies listeners when the transaction commits (once, however many changes it makes).
CREATE FUNCTION piwheels._build_queue_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM _count('builds_pending', platform || '/' || abi_tag, count(*) FILTER (WHERE failed_at IS NULL)),
            pg_notify('piwheels_queue', '')
            FROM new_rows GROUP BY platform, abi_tag;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM _count('builds_pending', platform || '/' || abi_tag, -count(*) FILTER (WHERE failed_at IS NULL)),
            pg_notify('piwheels_queue', '')
            FROM old_rows GROUP BY platform, abi_tag;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER counted_added AFTER INSERT ON public.build_queue
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._build_queue_changed();
CREATE TRIGGER counted_changed AFTER UPDATE ON public.build_queue
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._build_queue_changed();
CREATE TRIGGER counted_removed AFTER DELETE ON public.build_queue
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._build_queue_changed();
