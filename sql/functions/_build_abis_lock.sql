-- Before a change of the ABIs: wait until no transaction uses the old ones.
CREATE FUNCTION piwheels._build_abis_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(true);
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_lock BEFORE INSERT OR UPDATE OR DELETE ON public.build_abis
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._build_abis_lock();
