-- Converts log entries (arrays in the order of the columns) to rows of downloads.
CREATE FUNCTION piwheels._access_rows(entries jsonb) RETURNS SETOF downloads
LANGUAGE sql STABLE ROWS 1000 AS $$
    SELECT e ->> 0, e ->> 1, (e ->> 2)::timestamptz, e ->> 3, e ->> 4, e ->> 5, e ->> 6, e ->> 7,
        e ->> 8, e ->> 9, e ->> 10, e ->> 11, e ->> 12
    FROM jsonb_array_elements(entries) AS e;
$$;
