-- Stores requests for project pages.
CREATE FUNCTION piwheels.log_projects(entries jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO project_page_hits SELECT * FROM _hit_rows(entries);
$$;
