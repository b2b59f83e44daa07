-- Returns packages whose page must be written because of its links (links_changed).
CREATE FUNCTION piwheels.get_links_pending(the_limit integer) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM links_pending ORDER BY package LIMIT the_limit;
$$;
