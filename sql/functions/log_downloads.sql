-- Note downloads (DownloadState of core/states.py, as objects), and count those of files that we have.
CREATE FUNCTION piwheels.log_downloads(entries jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _downloads_partition(k.month) FROM (
        SELECT DISTINCT date_trunc('month', (e ->> 'timestamp')::timestamptz AT TIME ZONE 'UTC')::date AS month
        FROM jsonb_array_elements(entries) AS e ORDER BY month
    ) AS k;
    INSERT INTO downloads SELECT * FROM _access_rows(entries, 'filename');
    WITH days AS (
        INSERT INTO downloads_daily AS d (day, filename, package, downloads)
            SELECT (e.accessed_at AT TIME ZONE 'UTC')::date, f.filename, b.package, count(*)
            FROM _access_rows(entries, 'filename') AS e
            JOIN files f USING (filename) JOIN builds b USING (build_id)
            GROUP BY 1, f.filename, b.package ORDER BY 1, f.filename
            ON CONFLICT (day, filename) DO UPDATE SET downloads = d.downloads + EXCLUDED.downloads
    )
    INSERT INTO counters (counter, key, value)
        SELECT k.counter, k.key, count(*)
        FROM _access_rows(entries, 'filename') AS e
        JOIN files f USING (filename)
        CROSS JOIN LATERAL (
            VALUES ('downloads', ''),
                ('downloads_day', ((e.accessed_at AT TIME ZONE 'UTC')::date)::text)
        ) AS k (counter, key)
        GROUP BY k.counter, k.key;
END
$$;
