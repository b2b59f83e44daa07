-- Returns those of these builds that exist, or that were deleted but whose logs the master may not have removed yet.
CREATE FUNCTION piwheels.audit_builds(the_builds bigint[]) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    SELECT build_id FROM builds WHERE build_id = ANY (the_builds)
    UNION ALL SELECT build_id FROM build_logs_gone WHERE build_id = ANY (the_builds);
$$;
