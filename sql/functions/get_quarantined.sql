-- Returns the packages that are quarantined upstream.
CREATE FUNCTION piwheels.get_quarantined() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM packages WHERE status = 'quarantined' ORDER BY package;
$$;
