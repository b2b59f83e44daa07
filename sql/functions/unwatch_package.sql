-- Watch a project no more, unless the file of names has it; false: no operator had asked for it.
CREATE FUNCTION piwheels.unwatch_package(the_package text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM watched WHERE package = the_package AND asked AND NOT listed;
    IF NOT FOUND THEN
        UPDATE watched SET asked = false WHERE package = the_package AND asked;
    END IF;
    RETURN FOUND;
END
$$;
