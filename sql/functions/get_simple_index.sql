-- The packages that have files, without those that are marked as deleted or in quarantine.
CREATE FUNCTION piwheels.get_simple_index() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM published JOIN packages USING (package)
    WHERE skip <> 'deleted' AND status <> 'quarantined' ORDER BY package;
$$;
