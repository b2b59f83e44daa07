-- Stores requests of installers for pages of the simple index.
CREATE FUNCTION piwheels.log_searches(entries jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO searches SELECT * FROM _access_rows(entries);
$$;
