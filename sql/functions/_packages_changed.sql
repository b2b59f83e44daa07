-- A package is skipped or quarantined, or not any more: its versions are considered anew.
CREATE FUNCTION piwheels._packages_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_refresh(array_agg(v.package), array_agg(v.version))
        FROM was JOIN now_is USING (package) JOIN versions v USING (package)
        WHERE (was.skip = '' AND NOT was.removing AND was.status <> 'quarantined')
            <> (now_is.skip = '' AND NOT now_is.removing AND now_is.status <> 'quarantined');
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_changed AFTER UPDATE ON public.packages
    REFERENCING OLD TABLE AS was NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._packages_changed();
