-- Returns where the versions of a package are in the queue of each target, as explain_position does; and who builds them now. Place:
-- null if it is behind the_most; of: how many wait for a first build. Label: that of the slave with a lease (empty: none).
CREATE FUNCTION piwheels.get_places(the_package text, the_versions text[], the_most integer)
RETURNS TABLE (version text, platform text, abi_tag text, place bigint, "of" bigint, label text)
LANGUAGE sql STABLE AS $$
    SELECT q.version, q.platform, q.abi_tag,
        nullif(
            (
                SELECT count(*) FROM (
                    SELECT FROM build_queue b
                    WHERE b.platform = q.platform AND b.abi_tag = q.abi_tag AND b.failed_at IS NULL
                    AND (b.due, b.package, b.version) <= (q.due, q.package, q.version)
                    ORDER BY b.due, b.package, b.version
                    LIMIT the_most + 1
                ) AS b
            ),
            the_most + 1
        ),
        _counter_value('builds_pending', q.platform || '/' || q.abi_tag)::bigint, ''
    FROM build_queue q
    WHERE q.package = the_package AND q.version = ANY (the_versions) AND q.failed_at IS NULL
    UNION ALL
    SELECT l.version, l.platform, l.abi_tag, NULL, 0, l.label FROM leases l
    WHERE l.package = the_package AND l.version = ANY (the_versions) AND l.expires > now();
$$;
