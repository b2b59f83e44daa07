-- Rebuilds all derived tables. piw-initdb calls it after each upgrade, because the rules may have changed.
CREATE FUNCTION piwheels._refresh_derived() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE packages, versions, build_abis, targets, builds, files, downloads_daily, counters
        IN SHARE ROW EXCLUSIVE MODE;
    UPDATE targets SET accepted = _accepted_tags(platform, abi_tag);  -- also updates the queue
    DELETE FROM published;
    INSERT INTO published SELECT DISTINCT b.package FROM builds b JOIN files f USING (build_id);
    DELETE FROM downloads_ever;
    INSERT INTO downloads_ever SELECT package, sum(downloads) FROM downloads_daily GROUP BY package;
    DELETE FROM downloads_recent;
    INSERT INTO downloads_recent SELECT package, day, sum(downloads) FROM downloads_daily
        WHERE day > (now() AT TIME ZONE 'UTC')::date - 30 GROUP BY package, day;
    DELETE FROM counters;
    INSERT INTO counters (counter, key, value)
        SELECT 'builds_pending', platform || '/' || abi_tag, count(*) FROM build_queue WHERE failed_at IS NULL
            GROUP BY platform, abi_tag
        UNION ALL SELECT 'packages_built', '', count(*) FROM published
        UNION ALL SELECT 'files_count', '', count(*) FROM files
        UNION ALL SELECT 'builds_size', '', coalesce(sum(filesize), 0) FROM files
        UNION ALL SELECT 'builds_time', '', coalesce(sum(extract(epoch FROM duration)), 0) FROM builds
        UNION ALL SELECT 'downloads', '', coalesce(sum(downloads), 0) FROM downloads_ever
        UNION ALL SELECT 'downloads_day', day::text, sum(downloads) FROM downloads_recent GROUP BY day
        UNION ALL SELECT 'downloads_minute', date_trunc('minute', d.accessed_at AT TIME ZONE 'UTC')::text, count(*)
            FROM downloads d JOIN files USING (filename)
            WHERE d.accessed_at > now() - interval '1 hour' GROUP BY 2;
END
$$;
