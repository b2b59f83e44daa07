-- Some packages after one, by name: the next of them is where the last ended.
CREATE FUNCTION piwheels.audit_names(the_name text, the_limit integer) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT package FROM packages WHERE package > the_name ORDER BY package LIMIT the_limit;
$$;
