-- After a change of versions: updates the queue for them. Only changes of skip, removing,
-- quarantined, released, added, urgency and excluded matter.
CREATE FUNCTION piwheels._versions_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM _queue_refresh(array_agg(package), array_agg(version)) FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM _queue_refresh(array_agg(package), array_agg(version)) FROM old_rows;
    ELSE
        PERFORM _queue_refresh(array_agg(k.package), array_agg(k.version)) FROM (
            SELECT package, version FROM (
                SELECT package, version, skip = '' AND NOT removing AND NOT quarantined AS wanted, released, added, urgency, excluded FROM old_rows
                EXCEPT ALL
                SELECT package, version, skip = '' AND NOT removing AND NOT quarantined, released, added, urgency, excluded FROM new_rows
            ) AS before_it
            UNION
            SELECT package, version FROM (
                SELECT package, version, skip = '' AND NOT removing AND NOT quarantined AS wanted, released, added, urgency, excluded FROM new_rows
                EXCEPT ALL
                SELECT package, version, skip = '' AND NOT removing AND NOT quarantined, released, added, urgency, excluded FROM old_rows
            ) AS after_it
        ) AS k;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_added AFTER INSERT ON public.versions
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._versions_changed();
CREATE TRIGGER queue_changed AFTER UPDATE ON public.versions
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._versions_changed();
CREATE TRIGGER queue_removed AFTER DELETE ON public.versions
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._versions_changed();
