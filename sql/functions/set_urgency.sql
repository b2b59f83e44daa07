-- Sets how urgent a version is: 'first', 'security' or ''. Returns false if the version does not exist.
CREATE FUNCTION piwheels.set_urgency(the_package text, the_version text, the_urgency text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE versions SET urgency = the_urgency
        WHERE package = the_package AND version = the_version AND urgency <> the_urgency;
    RETURN EXISTS (SELECT FROM versions WHERE package = the_package AND version = the_version);
END
$$;
