-- After a change of builds: updates the queue for their versions and the total build time. Records deleted builds, so that their
-- logs are removed, and forgets what they have said about the Pythons of their versions.
CREATE FUNCTION piwheels._builds_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM _count('builds_time', '', sum(extract(epoch FROM duration))) FROM new_rows;
        PERFORM _queue_refresh(array_agg(package), array_agg(version))
            FROM (SELECT DISTINCT package, version FROM new_rows) AS k;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM _count('builds_time', '', -sum(extract(epoch FROM duration))) FROM old_rows;
        PERFORM _queue_refresh(array_agg(package), array_agg(version))
            FROM (SELECT DISTINCT package, version FROM old_rows) AS k;
        PERFORM _published_refresh(array_agg(DISTINCT package)) FROM old_rows;
    END IF;
    IF TG_OP = 'DELETE' THEN
        UPDATE versions v SET requires_python = NULL, excluded = 0
            FROM (SELECT DISTINCT package, version, subject FROM old_rows WHERE reason LIKE 'python-too-%') AS o
            WHERE v.package = o.package AND v.version = o.version AND v.requires_python = o.subject;
        INSERT INTO build_logs_gone (build_id) SELECT build_id FROM old_rows ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_added AFTER INSERT ON public.builds
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._builds_changed();
CREATE TRIGGER queue_changed AFTER UPDATE ON public.builds
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._builds_changed();
CREATE TRIGGER queue_removed AFTER DELETE ON public.builds
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._builds_changed();
