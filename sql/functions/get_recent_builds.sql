-- Returns the most recent builds, newest first.
CREATE FUNCTION piwheels.get_recent_builds(the_limit integer)
RETURNS TABLE (
    build_id bigint, slave_id bigint, label text, package text, version text, abi_tag text, status boolean,
    duration interval, files bigint, built_at timestamptz, again boolean, platform text, reason text, subject text,
    cause text, counts boolean, recipe jsonb, retry_at timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT * FROM ended_builds ORDER BY build_id DESC LIMIT the_limit;
$$;
