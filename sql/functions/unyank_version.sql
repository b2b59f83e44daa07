-- Undoes the yank of a version.
CREATE FUNCTION piwheels.unyank_version(the_package text, the_version text) RETURNS void
LANGUAGE sql AS $$
    UPDATE versions SET yanked = false, yank_reason = ''
    WHERE package = the_package AND version = the_version;
$$;
