-- Versions came, changed or went: they are considered anew. All that changes but skip, quarantine
-- and release is ignored.
CREATE FUNCTION piwheels._versions_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM _queue_refresh(array_agg(package), array_agg(version)) FROM now_is;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM _queue_refresh(array_agg(package), array_agg(version)) FROM was;
    ELSE
        PERFORM _queue_refresh(array_agg(k.package), array_agg(k.version)) FROM (
            SELECT package, version FROM (
                SELECT package, version, skip = '' AND NOT removing AND NOT quarantined AS wanted, released FROM was
                EXCEPT ALL
                SELECT package, version, skip = '' AND NOT removing AND NOT quarantined, released FROM now_is
            ) AS before_it
            UNION
            SELECT package, version FROM (
                SELECT package, version, skip = '' AND NOT removing AND NOT quarantined AS wanted, released FROM now_is
                EXCEPT ALL
                SELECT package, version, skip = '' AND NOT removing AND NOT quarantined, released FROM was
            ) AS after_it
        ) AS k;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_added AFTER INSERT ON public.versions
    REFERENCING NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._versions_changed();
CREATE TRIGGER queue_changed AFTER UPDATE ON public.versions
    REFERENCING OLD TABLE AS was NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._versions_changed();
CREATE TRIGGER queue_removed AFTER DELETE ON public.versions
    REFERENCING OLD TABLE AS was
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._versions_changed();
