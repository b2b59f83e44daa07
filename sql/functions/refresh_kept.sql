-- Compute anew all that is kept, the counts of downloads too. Who changes something meanwhile waits.
CREATE FUNCTION piwheels.refresh_kept() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL lock_timeout = '20s';
    PERFORM _queue_lock(true);
    LOCK TABLE downloads_daily IN SHARE ROW EXCLUSIVE MODE;
    PERFORM _refresh_kept();
    DELETE FROM counters WHERE counter IN ('downloads', 'downloads_day');
    INSERT INTO counters (counter, key, value)
        SELECT 'downloads', '', sum(downloads) FROM downloads_daily HAVING count(*) > 0
        UNION ALL SELECT 'downloads_day', day::text, sum(downloads) FROM downloads_daily GROUP BY day;
END
$$;
