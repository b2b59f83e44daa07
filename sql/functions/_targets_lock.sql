-- Before a change of the targets or ABIs: wait until no transaction uses the old ones.
CREATE FUNCTION piwheels._targets_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(true);
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_lock BEFORE INSERT OR UPDATE OR DELETE ON public.targets
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._targets_lock();
CREATE TRIGGER queue_lock BEFORE INSERT OR UPDATE OR DELETE ON public.build_abis
    FOR EACH STATEMENT EXECUTE FUNCTION piwheels._targets_lock();
