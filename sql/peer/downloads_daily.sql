-- Downloads of known files, in the order of the primary key.
INSERT INTO downloads_daily (day, filename, package, downloads)
SELECT d.day, d.filename, b.package, d.downloads
FROM (SELECT accessed_at::date AS day, filename, count(*) AS downloads FROM downloads GROUP BY 1, 2) AS d
JOIN files f USING (filename) JOIN builds b USING (build_id)
ORDER BY 1, 2;
