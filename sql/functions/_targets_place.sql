-- Fills in what follows from the name of a target: its position, if it has none, the tags that its installers accept, and its
-- minor version of Python 3 (null: another Python).
CREATE FUNCTION piwheels._targets_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.position := coalesce(NEW.position, _abi_position(NEW.abi_tag));
    NEW.accepted := _accepted_tags(NEW.platform, NEW.abi_tag);
    NEW.minor := _minor(NEW.abi_tag);
    RETURN NEW;
END
$$;
CREATE TRIGGER place BEFORE INSERT OR UPDATE ON public.targets
    FOR EACH ROW EXECUTE FUNCTION piwheels._targets_place();
