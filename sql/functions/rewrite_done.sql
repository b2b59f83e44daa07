-- Deletes a note on pending pages. A newer note of the same package has another number, and stays.
CREATE FUNCTION piwheels.rewrite_done(the_package text, the_note bigint) RETURNS void LANGUAGE sql AS $$
    SELECT _async_commit();
    DELETE FROM rewrites_pending WHERE package = the_package AND note = the_note;
$$;
