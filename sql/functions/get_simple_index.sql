-- Returns the packages with files, except those that are marked as deleted or have only quarantined files.
CREATE FUNCTION piwheels.get_simple_index() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM published JOIN packages USING (package)
    WHERE skip <> 'deleted' AND status <> 'quarantined' AND NOT (
        package IN (SELECT v.package FROM versions v WHERE v.quarantined)
        AND NOT EXISTS (
            SELECT FROM versions v JOIN builds b USING (package, version) JOIN files f USING (build_id)
            WHERE v.package = published.package AND NOT v.quarantined
        )
    )
    ORDER BY package;
$$;
