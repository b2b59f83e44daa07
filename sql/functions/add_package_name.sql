-- Records another spelling of a package name.
CREATE FUNCTION piwheels.add_package_name(the_package text, the_name text, the_time timestamptz)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO package_names AS n (name, package, seen)
        SELECT the_name, package, the_time FROM packages WHERE package = the_package
        ON CONFLICT (name) DO UPDATE
        SET package = EXCLUDED.package, seen = greatest(n.seen, EXCLUDED.seen);
$$;
