-- The last transaction of an import. No later build gets the number of a log on the site.
SELECT setval(pg_get_serial_sequence('public.builds', 'build_id'), greatest(1, max(build_id)), max(build_id) IS NOT NULL)
FROM peer.builds WHERE build_id BETWEEN 1 AND 999999999999;

INSERT INTO watched (package, pinned)
SELECT p.package, true FROM packages p, configuration c WHERE c.pypi_serial = 0;  -- the whole index is not followed

-- So that the order of the queue is the final one.
UPDATE packages p SET popularity = piwheels._popularity(r.downloads)
FROM (
    SELECT package, sum(downloads) AS downloads FROM downloads_daily
    WHERE day > (now() AT TIME ZONE 'UTC')::date - 30 GROUP BY package
) AS r WHERE r.package = p.package;

INSERT INTO rewrites_pending (package, added_at, command) SELECT package, now(), 'BOTH' FROM packages;

ANALYZE packages, versions, builds, files, downloads_daily;

SET LOCAL session_replication_role = origin;  -- its triggers fill the queue

SELECT piwheels._refresh_derived();

DROP SCHEMA peer CASCADE;
