-- Returns whether builds of this version, or (null) of the whole package, are being removed.
CREATE FUNCTION piwheels.builds_held(the_package text, the_version text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN the_version IS NULL
        THEN EXISTS (SELECT FROM packages WHERE package = the_package AND removing)
        ELSE EXISTS (SELECT FROM versions WHERE package = the_package AND version = the_version AND removing)
    END;
$$;
