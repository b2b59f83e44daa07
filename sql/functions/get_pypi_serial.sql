CREATE FUNCTION piwheels.get_pypi_serial() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT pypi_serial FROM configuration;
$$;
