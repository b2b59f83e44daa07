-- Returns a part of a log that is not yet in a file, and the length of the whole log in characters; no row if there is none.
CREATE FUNCTION piwheels.get_build_log(the_build bigint, the_offset integer, the_length integer)
RETURNS TABLE (part text, size integer) LANGUAGE sql STABLE AS $$
    SELECT substr(output, the_offset + 1, the_length), length(output)
    FROM build_logs_pending WHERE build_id = the_build;
$$;
