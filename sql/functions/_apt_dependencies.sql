-- Returns the Debian packages that a file needs and that are not preinstalled on systems with this ABI.
CREATE FUNCTION piwheels._apt_dependencies(the_file text, the_abi text) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT d.dependency::text FROM dependencies d
        WHERE d.filename = the_file AND d.tool = 'apt' AND NOT EXISTS (
            SELECT FROM preinstalled_apt_packages i
            WHERE i.abi_tag = the_abi AND i.apt_package = d.dependency
        )
        ORDER BY d.dependency
    );
$$;
