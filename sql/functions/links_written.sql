-- Records that the page of this package is written.
CREATE FUNCTION piwheels.links_written(the_package text) RETURNS void LANGUAGE sql AS $$
    SELECT _async_commit();
    DELETE FROM links_pending WHERE package = the_package;
$$;
