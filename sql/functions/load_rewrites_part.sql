-- Returns pending rewrites of the next packages after the_package.
CREATE FUNCTION piwheels.load_rewrites_part(the_package text, the_limit integer)
RETURNS TABLE (package text, added_at timestamptz, command text) LANGUAGE sql STABLE AS $$
    SELECT package, added_at, command FROM rewrites_pending
    WHERE package > the_package ORDER BY package LIMIT the_limit;
$$;
