-- Gives a new ABI without a position the position that follows from its tag.
CREATE FUNCTION piwheels._build_abis_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.position := coalesce(NEW.position, _abi_position(NEW.abi_tag));
    RETURN NEW;
END
$$;
CREATE TRIGGER place BEFORE INSERT ON public.build_abis
    FOR EACH ROW EXECUTE FUNCTION piwheels._build_abis_place();
