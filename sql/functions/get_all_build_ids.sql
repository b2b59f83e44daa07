-- Returns the numbers of all builds.
CREATE FUNCTION piwheels.get_all_build_ids() RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT build_id FROM builds;
$$;
