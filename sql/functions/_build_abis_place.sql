-- Fills in the position of an ABI, if it has none: it follows from the tag.
CREATE FUNCTION piwheels._build_abis_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.position := coalesce(NEW.position, _abi_position(NEW.abi_tag));
    RETURN NEW;
END
$$;
CREATE TRIGGER place BEFORE INSERT OR UPDATE ON public.build_abis
    FOR EACH ROW EXECUTE FUNCTION piwheels._build_abis_place();
