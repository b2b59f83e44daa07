-- Files came, moved or went: the versions of their builds are considered anew; number and size are counted. (When
-- a whole build goes, its own trigger does what is left: here its version can no longer be found.)
CREATE FUNCTION piwheels._files_changed() RETURNS trigger
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM _count('files_count', '', count(*)), _count('builds_size', '', sum(filesize)) FROM now_is;
        PERFORM _queue_refresh(array_agg(package), array_agg(version)) FROM (
            SELECT DISTINCT b.package, b.version FROM now_is JOIN builds b USING (build_id)
        ) AS k;
        PERFORM _published_add(array_agg(DISTINCT b.package))
            FROM now_is JOIN builds b USING (build_id);
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM _count('files_count', '', -count(*)), _count('builds_size', '', -sum(filesize)) FROM was;
        PERFORM _queue_refresh(array_agg(package), array_agg(version)) FROM (
            SELECT DISTINCT b.package, b.version FROM was JOIN builds b USING (build_id)
        ) AS k;
        PERFORM _published_refresh(array_agg(DISTINCT b.package))
            FROM was JOIN builds b USING (build_id)
            WHERE NOT EXISTS (SELECT FROM files f WHERE f.build_id = was.build_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_added AFTER INSERT ON public.files
    REFERENCING NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._files_changed();
CREATE TRIGGER queue_changed AFTER UPDATE ON public.files
    REFERENCING OLD TABLE AS was NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._files_changed();
CREATE TRIGGER queue_removed AFTER DELETE ON public.files
    REFERENCING OLD TABLE AS was
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._files_changed();
