-- Returns the place of a build in the order of the queue: the earliest comes first. In seconds since 1970.
-- It is the time from which the version waits for the target, with a head start:
--   security releases 90 days, popular packages 7 days for each decimal digit of their downloads in 30 days;
--   old releases come up to a year later: by a tenth of their age at that time.
-- So no version waits for others that have begun to wait more than 600 days later, except for those that an operator has put
-- first. It does not depend on the present time, so that an index can store it.
CREATE FUNCTION piwheels._due(the_start timestamptz, the_release timestamptz, the_popularity integer, the_urgency text)
RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (
        extract(epoch FROM the_start)
        + least(greatest(extract(epoch FROM the_start) - extract(epoch FROM the_release), 0) / 10, 365 * 86400)
        - CASE the_urgency WHEN 'first' THEN 36500 WHEN 'security' THEN 90 ELSE 0 END * 86400::bigint
        - the_popularity * 7 * 86400
    )::bigint;
$$;
