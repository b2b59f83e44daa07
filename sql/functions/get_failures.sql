-- Returns the builds that count_reason counts, the newest first.
CREATE FUNCTION piwheels.get_failures(the_reason text, the_subject text, the_time timestamptz, the_limit integer)
RETURNS TABLE (
    build_id bigint, slave_id bigint, label text, package text, version text, abi_tag text, status boolean,
    duration interval, files bigint, built_at timestamptz, again boolean, platform text, reason text, subject text,
    cause text, counts boolean, recipe jsonb, retry_at timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT e.* FROM (
        SELECT build_id FROM failures
        WHERE reason = the_reason AND (the_subject IS NULL OR subject = the_subject) AND built_at >= the_time
        ORDER BY build_id DESC
        LIMIT the_limit
    ) AS f JOIN ended_builds e USING (build_id)
    ORDER BY build_id DESC;
$$;
