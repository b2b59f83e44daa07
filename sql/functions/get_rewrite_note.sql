-- Returns the number of the note on pending pages, if the_command does everything that the note requests. Must be read
-- before the data of the pages.
CREATE FUNCTION piwheels.get_rewrite_note(the_package text, the_command text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT note FROM rewrites_pending
    WHERE package = the_package AND the_command IN (command, 'BOTH');
$$;
