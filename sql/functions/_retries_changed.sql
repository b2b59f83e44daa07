-- After a change of retries: updates the queue for their versions.
CREATE FUNCTION piwheels._retries_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM _queue_refresh(array_agg(package), array_agg(version))
            FROM (SELECT DISTINCT package, version FROM new_rows) AS k;
    ELSE
        PERFORM _queue_refresh(array_agg(package), array_agg(version))
            FROM (SELECT DISTINCT package, version FROM old_rows) AS k;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_added AFTER INSERT ON public.retries
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._retries_changed();
CREATE TRIGGER queue_changed AFTER UPDATE ON public.retries
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._retries_changed();
CREATE TRIGGER queue_removed AFTER DELETE ON public.retries
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._retries_changed();
