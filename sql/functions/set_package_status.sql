-- Sets the status of a package.
CREATE FUNCTION piwheels.set_package_status(the_package text, the_status text) RETURNS void
LANGUAGE sql AS $$
    UPDATE packages SET status = the_status WHERE package = the_package AND status <> the_status;
$$;
