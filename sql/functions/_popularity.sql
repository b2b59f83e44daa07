-- Returns the popularity of a package, by its downloads in 30 days: the number of their decimal digits.
CREATE FUNCTION piwheels._popularity(the_downloads numeric) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN the_downloads > 0 THEN length(trunc(least(the_downloads, 1e18))::text) ELSE 0 END;
$$;
