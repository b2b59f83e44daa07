-- Returns the last serial of the upstream index that was stored.
CREATE FUNCTION piwheels.get_pypi_serial() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT pypi_serial FROM configuration;
$$;
