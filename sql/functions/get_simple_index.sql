-- The packages that have files, without those that are marked as deleted, or that have no others than quarantined ones.
CREATE FUNCTION piwheels.get_simple_index() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT package FROM published JOIN packages USING (package)
    WHERE skip <> 'deleted' AND NOT (
        package IN (SELECT v.package FROM versions v WHERE v.quarantined)
        AND NOT EXISTS (
            SELECT FROM versions v JOIN builds b USING (package, version) JOIN files f USING (build_id)
            WHERE v.package = published.package AND NOT v.quarantined
        )
    )
    ORDER BY package;
$$;
