-- Downloads of known files.
INSERT INTO downloads_daily (day, filename, package, downloads)
SELECT d.day, d.filename, b.package, d.downloads
FROM (SELECT accessed_at::date AS day, filename, count(*) AS downloads FROM downloads GROUP BY 1, 2) AS d
JOIN files f USING (filename) JOIN builds b USING (build_id);
