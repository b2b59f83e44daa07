-- Entries as rows of project_page_hits; what was asked for stands under the name given.
CREATE FUNCTION piwheels._hit_rows(entries jsonb, the_name text) RETURNS SETOF project_page_hits
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT e ->> the_name, e ->> 'host', (e ->> 'timestamp')::timestamptz, e ->> 'user_agent'
    FROM jsonb_array_elements(entries) AS e;
$$;
