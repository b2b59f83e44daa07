-- Has the failed builds tried again whose time has come, at most the_limit. Returns their number.
CREATE FUNCTION piwheels.release_retries(the_limit integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    released bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM retries WHERE NOT ready AND due <= now()) THEN
        RETURN 0;  -- without a lock
    END IF;
    PERFORM _lock_versions(array_agg(package), array_agg(version)) FROM (
        SELECT package, version FROM retries WHERE NOT ready AND due <= now() ORDER BY due LIMIT the_limit
    ) AS k;
    UPDATE retries SET ready = true WHERE build_id IN (
        SELECT build_id FROM retries WHERE NOT ready AND due <= now() ORDER BY due LIMIT the_limit
    );
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;
