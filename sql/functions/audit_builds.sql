-- Which of these builds there are.
CREATE FUNCTION piwheels.audit_builds(the_builds bigint[]) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    SELECT build_id FROM builds WHERE build_id = ANY (the_builds);
$$;
