-- Returns those of these packages for which the upstream index has not been asked yet.
CREATE FUNCTION piwheels.get_unpolled(the_packages text[]) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM watched WHERE package = ANY (the_packages) AND NOT polled ORDER BY package;
$$;
