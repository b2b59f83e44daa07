-- The pages show all that was known when this note was read; if there is another by now, that is left to do.
CREATE FUNCTION piwheels.rewrite_done(the_package text, the_note bigint) RETURNS void LANGUAGE sql AS $$
    SELECT _relaxed();
    DELETE FROM rewrites_pending WHERE package = the_package AND note = the_note;
$$;
