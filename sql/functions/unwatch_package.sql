-- Ends the watch of a project, unless the file of names lists it. Returns false if no operator had requested the watch.
CREATE FUNCTION piwheels.unwatch_package(the_package text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM watched WHERE package = the_package AND asked AND NOT listed AND NOT pinned;
    IF NOT FOUND THEN
        UPDATE watched SET asked = false WHERE package = the_package AND asked;
    END IF;
    RETURN FOUND;
END
$$;
