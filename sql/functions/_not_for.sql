-- Returns why no active target can build a version, by its Requires-Python; '' if one can.
CREATE FUNCTION piwheels._not_for(the_requirement text, the_mask bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN the_mask = 0 OR EXISTS (SELECT FROM active_targets WHERE _supports(the_mask, minor)) THEN ''
        ELSE format('not for the Pythons of this farm (requires %s)', the_requirement)
    END;
$$;
