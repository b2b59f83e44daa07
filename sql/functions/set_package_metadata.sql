-- Sets the summary of a package and the projects that it needs, as its newest wheel has them. Returns whether the summary has
-- changed.
CREATE FUNCTION piwheels.set_package_metadata(the_package text, the_summary text, the_needs text[]) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE packages SET needs = the_needs WHERE package = the_package AND needs <> the_needs;
    UPDATE packages SET summary = the_summary WHERE package = the_package AND summary <> the_summary;
    RETURN FOUND;
END
$$;
