-- Stores downloads (DownloadState in core/states.py, each an array) and counts those of known files; returns how many there
-- are. It counts files by day, packages in total and by day for 30 days, and the sum by day and by minute.
CREATE FUNCTION piwheels.log_downloads(entries jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    utc CONSTANT timestamp := now() AT TIME ZONE 'UTC';
    counted bigint;
BEGIN
    PERFORM _downloads_partition(k.month) FROM (
        SELECT DISTINCT date_trunc('month', (e ->> 2)::timestamptz AT TIME ZONE 'UTC')::date AS month
        FROM jsonb_array_elements(entries) AS e ORDER BY month
    ) AS k;
    WITH entry AS MATERIALIZED (
        SELECT * FROM _access_rows(entries)
    ), noted AS (
        INSERT INTO downloads SELECT * FROM entry
    ), known AS MATERIALIZED (
        SELECT f.filename, b.package, e.at, e.at::date AS day
        FROM (SELECT filename, accessed_at AT TIME ZONE 'UTC' AS at FROM entry) AS e
        JOIN files f USING (filename) JOIN builds b USING (build_id)
    ), daily AS (
        INSERT INTO downloads_daily AS d (day, filename, package, downloads)
            SELECT day, filename, package, count(*) FROM known
            GROUP BY day, filename, package ORDER BY day, filename
            ON CONFLICT (day, filename) DO UPDATE SET downloads = d.downloads + EXCLUDED.downloads
    ), recent AS (
        INSERT INTO downloads_recent AS d (package, day, downloads)
            SELECT package, day, count(*) FROM known WHERE day > utc::date - 30
            GROUP BY package, day ORDER BY package, day
            ON CONFLICT (package, day) DO UPDATE SET downloads = d.downloads + EXCLUDED.downloads
    ), ever AS (
        INSERT INTO downloads_ever AS d (package, downloads)
            SELECT package, count(*) FROM known GROUP BY package ORDER BY package
            ON CONFLICT (package) DO UPDATE SET downloads = d.downloads + EXCLUDED.downloads
    ), sums AS (
        INSERT INTO counters (counter, key, value)
            SELECT 'downloads', '', count(*) FROM known HAVING count(*) > 0
            UNION ALL
            SELECT 'downloads_day', day::text, count(*) FROM known WHERE day > utc::date - 30 GROUP BY day
            UNION ALL
            SELECT 'downloads_minute', date_trunc('minute', at)::text, count(*) FROM known
            WHERE at > utc - interval '1 hour' GROUP BY date_trunc('minute', at)
    )
    SELECT count(*) INTO counted FROM known;
    RETURN counted;
END
$$;
