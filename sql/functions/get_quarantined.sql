-- The packages that the upstream index has put into quarantine.
CREATE FUNCTION piwheels.get_quarantined() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM packages WHERE status = 'quarantined' ORDER BY package;
$$;
