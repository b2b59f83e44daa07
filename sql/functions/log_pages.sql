-- Stores requests for other pages.
CREATE FUNCTION piwheels.log_pages(entries jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO web_page_hits SELECT * FROM _hit_rows(entries);
$$;
