-- Returns the failures that count_reason counts, the newest first.
CREATE FUNCTION piwheels.get_failures(the_reason text, the_subject text, the_time timestamptz, the_limit integer)
RETURNS TABLE (
    build_id bigint, package text, version text, platform text, abi_tag text, built_at timestamptz, cause text
) LANGUAGE sql STABLE AS $$
    SELECT build_id, package, version, platform, abi_tag, built_at, cause FROM failures
    WHERE reason = the_reason AND (the_subject IS NULL OR subject = the_subject) AND built_at >= the_time
    ORDER BY build_id DESC
    LIMIT the_limit;
$$;
