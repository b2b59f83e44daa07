-- Converts log entries (arrays in the order of the columns) to rows of project_page_hits.
CREATE FUNCTION piwheels._hit_rows(entries jsonb) RETURNS SETOF project_page_hits
LANGUAGE sql STABLE ROWS 1000 AS $$
    SELECT e ->> 0, e ->> 1, (e ->> 2)::timestamptz, e ->> 3
    FROM jsonb_array_elements(entries) AS e;
$$;
