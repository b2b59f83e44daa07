-- Returns the next packages after the_name.
CREATE FUNCTION piwheels.audit_names(the_name text, the_limit integer) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT package FROM packages WHERE package > the_name ORDER BY package LIMIT the_limit;
$$;
