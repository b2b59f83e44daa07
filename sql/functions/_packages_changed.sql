-- After a change of skip reason, removal, status or popularity: updates the queue for all versions of the packages.
CREATE FUNCTION piwheels._packages_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_refresh(array_agg(v.package), array_agg(v.version))
        FROM old_rows JOIN new_rows USING (package) JOIN versions v USING (package)
        WHERE (old_rows.skip = '' AND NOT old_rows.removing AND old_rows.status <> 'quarantined', old_rows.popularity)
            <> (new_rows.skip = '' AND NOT new_rows.removing AND new_rows.status <> 'quarantined', new_rows.popularity);
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_changed AFTER UPDATE ON public.packages
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._packages_changed();
