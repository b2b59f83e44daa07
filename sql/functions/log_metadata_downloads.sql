-- Stores downloads of metadata files.
CREATE FUNCTION piwheels.log_metadata_downloads(entries jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO metadata_downloads SELECT * FROM _access_rows(entries);
$$;
