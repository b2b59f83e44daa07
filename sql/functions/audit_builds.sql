-- Which of these builds there are, or have gone so lately that the master has yet to remove their logs.
CREATE FUNCTION piwheels.audit_builds(the_builds bigint[]) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    SELECT build_id FROM builds WHERE build_id = ANY (the_builds)
    UNION ALL SELECT build_id FROM build_logs_gone WHERE build_id = ANY (the_builds);
$$;
