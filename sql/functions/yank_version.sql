-- Yanks a version for this farm, whatever upstream says.
CREATE FUNCTION piwheels.yank_version(the_package text, the_version text, the_reason text)
RETURNS void LANGUAGE sql AS $$
    UPDATE versions SET yanked = true, yank_reason = the_reason, yanked_upstream = false
    WHERE package = the_package AND version = the_version;
$$;
