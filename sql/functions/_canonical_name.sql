-- Returns the normalized name of a project (PEP 503).
CREATE FUNCTION piwheels._canonical_name(the_name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(regexp_replace(the_name, '[-_.]+', '-', 'g'));
$$;
