-- Starts or ends the removal of builds of a version, or (null) of the whole package.
CREATE FUNCTION piwheels.hold_builds(the_package text, the_version text, the_state boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF the_version IS NULL THEN
        UPDATE packages SET removing = the_state WHERE package = the_package AND removing <> the_state;
        RETURN;
    END IF;
    PERFORM _lock_versions(ARRAY[the_package], ARRAY[the_version]);
    UPDATE versions SET removing = the_state
        WHERE package = the_package AND version = the_version AND removing <> the_state;
END
$$;
