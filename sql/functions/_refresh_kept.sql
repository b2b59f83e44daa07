-- Compute anew all that is kept. piw-initdb does it after each upgrade, since the rules may have changed.
CREATE FUNCTION piwheels._refresh_kept() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE packages, versions, build_abis, builds, files, counters IN SHARE ROW EXCLUSIVE MODE;
    PERFORM _queue_refresh_all();
    DELETE FROM published;
    INSERT INTO published SELECT DISTINCT b.package FROM builds b JOIN files f USING (build_id);
    DELETE FROM counters WHERE counter NOT IN ('downloads', 'downloads_day');
    INSERT INTO counters (counter, key, value)
        SELECT 'builds_pending', abi_tag, count(*) FROM build_queue GROUP BY abi_tag
        UNION ALL SELECT 'packages_built', '', count(*) FROM published
        UNION ALL SELECT 'files_count', '', count(*) FROM files
        UNION ALL SELECT 'builds_size', '', coalesce(sum(filesize), 0) FROM files
        UNION ALL SELECT 'builds_time', '', coalesce(sum(extract(epoch FROM duration)), 0) FROM builds;
END
$$;
