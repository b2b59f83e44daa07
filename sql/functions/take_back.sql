-- Deletes these builds, as far as they have failed, because their slaves are in quarantine. Their versions return to the
-- queue. Returns the package of each deleted build.
CREATE FUNCTION piwheels.take_back(the_builds bigint[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT _delete_failed(the_builds);
$$;
