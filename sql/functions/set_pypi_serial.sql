-- Sets the last serial of the upstream index that was stored.
CREATE FUNCTION piwheels.set_pypi_serial(the_serial bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE configuration SET pypi_serial = the_serial;
$$;
