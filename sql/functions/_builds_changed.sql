-- Builds came, changed or went: their versions are considered anew; their time is counted; the logs of those that went
-- are to vanish.
CREATE FUNCTION piwheels._builds_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM _count('builds_time', '', sum(extract(epoch FROM duration))) FROM now_is;
        PERFORM _queue_refresh(array_agg(package), array_agg(version))
            FROM (SELECT DISTINCT package, version FROM now_is) AS k;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM _count('builds_time', '', -sum(extract(epoch FROM duration))) FROM was;
        PERFORM _queue_refresh(array_agg(package), array_agg(version))
            FROM (SELECT DISTINCT package, version FROM was) AS k;
        PERFORM _published_refresh(array_agg(DISTINCT package)) FROM was;
    END IF;
    IF TG_OP = 'DELETE' THEN
        INSERT INTO build_logs_gone (build_id) SELECT build_id FROM was ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_added AFTER INSERT ON public.builds
    REFERENCING NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._builds_changed();
CREATE TRIGGER queue_changed AFTER UPDATE ON public.builds
    REFERENCING OLD TABLE AS was NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._builds_changed();
CREATE TRIGGER queue_removed AFTER DELETE ON public.builds
    REFERENCING OLD TABLE AS was
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._builds_changed();
