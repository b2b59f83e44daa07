-- The packages that have files, without those that are marked as deleted.
CREATE FUNCTION piwheels.get_simple_index() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM published JOIN packages USING (package)
    WHERE skip <> 'deleted' ORDER BY package;
$$;
