-- Sets the skip reason of a version ('' to build it).
CREATE FUNCTION piwheels.skip_package_version(the_package text, the_version text, the_reason text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _lock_versions(ARRAY[the_package], ARRAY[the_version]);
    UPDATE versions SET skip = the_reason
        WHERE package = the_package AND version = the_version AND skip <> the_reason;
END
$$;
