-- Sets the summary of a package, as its newest wheel has it. Returns whether it has changed.
CREATE FUNCTION piwheels.set_package_summary(the_package text, the_summary text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE packages SET summary = the_summary WHERE package = the_package AND summary <> the_summary;
    RETURN FOUND;
END
$$;
