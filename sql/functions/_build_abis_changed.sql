-- After a change of the ABIs: each version may need another build.
CREATE FUNCTION piwheels._build_abis_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_refresh_all();
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_changed AFTER INSERT OR UPDATE OR DELETE ON public.build_abis
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._build_abis_changed();
