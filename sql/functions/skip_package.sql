-- Sets the skip reason of a package ('' to build it).
CREATE FUNCTION piwheels.skip_package(the_package text, the_reason text) RETURNS void
LANGUAGE sql AS $$
    UPDATE packages SET skip = the_reason WHERE package = the_package AND skip <> the_reason;
$$;
