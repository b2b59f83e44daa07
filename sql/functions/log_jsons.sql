-- Stores requests for the JSON of projects.
CREATE FUNCTION piwheels.log_jsons(entries jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO project_json_downloads SELECT * FROM _hit_rows(entries);
$$;
