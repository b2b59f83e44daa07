-- After a change of the targets or ABIs: each version may need other builds.
CREATE FUNCTION piwheels._targets_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_refresh_all();
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_changed AFTER INSERT OR UPDATE OR DELETE ON public.targets
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._targets_changed();
CREATE TRIGGER queue_changed AFTER UPDATE ON public.build_abis
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._targets_changed();
