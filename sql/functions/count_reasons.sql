-- Returns how many of the failures that stand, since a time, have each reason and subject: first the most frequent ones.
CREATE FUNCTION piwheels.count_reasons(the_time timestamptz, the_limit integer)
RETURNS TABLE (reason text, subject text, builds bigint, packages bigint) LANGUAGE sql STABLE AS $$
    SELECT reason, subject, count(*), count(DISTINCT package)
    FROM failures
    WHERE built_at >= the_time
    GROUP BY reason, subject
    ORDER BY count(*) DESC, reason, subject
    LIMIT the_limit;
$$;
