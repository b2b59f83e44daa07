-- After a change of files: updates the queue for the versions of their builds, and the number and size of all files, and
-- keeps the names of removed ones. If a whole build was deleted, its version cannot be found here; the trigger on builds
-- handles it. OFFSET 0 is an optimization fence: the files come first, and never all builds.
CREATE FUNCTION piwheels._files_changed() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM _count('files_count', '', count(*)), _count('builds_size', '', sum(filesize)) FROM new_rows;
        PERFORM _queue_refresh(array_agg(package), array_agg(version)) FROM (
            SELECT DISTINCT b.package, b.version FROM new_rows
                CROSS JOIN LATERAL (SELECT * FROM builds WHERE build_id = new_rows.build_id OFFSET 0) AS b
        ) AS k;
        PERFORM _published_add(array_agg(DISTINCT b.package))
            FROM new_rows
                CROSS JOIN LATERAL (SELECT * FROM builds WHERE build_id = new_rows.build_id OFFSET 0) AS b;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM _count('files_count', '', -count(*)), _count('builds_size', '', -sum(filesize)) FROM old_rows;
        PERFORM _queue_refresh(array_agg(package), array_agg(version)) FROM (
            SELECT DISTINCT b.package, b.version FROM old_rows
                CROSS JOIN LATERAL (SELECT * FROM builds WHERE build_id = old_rows.build_id OFFSET 0) AS b
        ) AS k;
        PERFORM _published_refresh(array_agg(DISTINCT b.package))
            FROM old_rows
                CROSS JOIN LATERAL (SELECT * FROM builds WHERE build_id = old_rows.build_id OFFSET 0) AS b
            WHERE NOT EXISTS (SELECT FROM files f WHERE f.build_id = old_rows.build_id);
    END IF;
    IF TG_OP = 'DELETE' THEN
        PERFORM _retire_files(array_agg(filename), array_agg(filehash), array_agg(package_tag)) FROM old_rows;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM _retire_files(array_agg(k.filename), array_agg(k.filehash), array_agg(k.package_tag)) FROM (
            SELECT filename, filehash, package_tag FROM old_rows EXCEPT SELECT filename, filehash, package_tag FROM new_rows
        ) AS k;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_added AFTER INSERT ON public.files
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._files_changed();
CREATE TRIGGER queue_changed AFTER UPDATE ON public.files
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._files_changed();
CREATE TRIGGER queue_removed AFTER DELETE ON public.files
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._files_changed();
