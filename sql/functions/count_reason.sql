-- Returns how many of the failures that stand, since a time, have this reason and this subject (null: any).
CREATE FUNCTION piwheels.count_reason(the_reason text, the_subject text, the_time timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM failures
    WHERE reason = the_reason AND (the_subject IS NULL OR subject = the_subject) AND built_at >= the_time;
$$;
