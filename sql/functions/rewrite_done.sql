-- Pages show all that was known then; what was asked for since is left to do.
CREATE FUNCTION piwheels.rewrite_done(the_package text, the_time timestamptz) RETURNS void
LANGUAGE sql AS $$
    SELECT _relaxed();
    DELETE FROM rewrites_pending WHERE package = the_package AND asked_at <= the_time;
$$;
