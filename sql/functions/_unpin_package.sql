-- Ends the watch of a project that is followed only because of its versions, once it has none.
CREATE FUNCTION piwheels._unpin_package(the_package text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM watched WHERE package = the_package AND NOT asked AND NOT listed
        AND NOT EXISTS (SELECT FROM versions v WHERE v.package = the_package);
$$;
