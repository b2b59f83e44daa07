-- The number of the note that pages are to be written, if the_command does all that it asks for. To be read before what
-- the pages are made of.
CREATE FUNCTION piwheels.get_rewrite_note(the_package text, the_command text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT note FROM rewrites_pending
    WHERE package = the_package AND the_command IN (command, 'BOTH');
$$;
