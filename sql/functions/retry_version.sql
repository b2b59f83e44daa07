-- Has the targets of a version built again for which it has failed, as if nothing had been tried: deletes its failed builds.
-- Returns their number.
CREATE FUNCTION piwheels.retry_version(the_package text, the_version text) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM _delete_failed(ARRAY(
        SELECT build_id FROM builds WHERE package = the_package AND version = the_version AND NOT status
    ));
$$;
