-- Returns where a version is in the queue, for each target, and what its place depends on (_due). Place: how many builds come
-- first for this target, or may, with it; of: how many there are.
CREATE FUNCTION piwheels.explain_position(the_package text, the_version text) RETURNS TABLE (
    platform text, abi_tag text, place bigint, "of" bigint, exclusive text, due timestamptz, since timestamptz,
    released timestamptz, popularity integer, urgency text, failed_at timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT q.platform, q.abi_tag,
        (
            SELECT count(*) FROM build_queue b
            WHERE b.platform = q.platform AND b.abi_tag = q.abi_tag AND (b.failed_at IS NULL) = (q.failed_at IS NULL)
            AND (b.due, b.package, b.version) <= (q.due, q.package, q.version)
        ),
        (
            SELECT count(*) FROM build_queue b
            WHERE b.platform = q.platform AND b.abi_tag = q.abi_tag AND (b.failed_at IS NULL) = (q.failed_at IS NULL)
        ),
        q.exclusive, to_timestamp(q.due),
        greatest(v.added, coalesce(
            (SELECT t.since FROM targets t WHERE t.platform = q.platform AND t.abi_tag = q.abi_tag),
            (SELECT min(a.since) FROM active_targets a)
        )),
        v.released, p.popularity, v.urgency, q.failed_at
    FROM build_queue q JOIN versions v USING (package, version) JOIN packages p USING (package)
    WHERE q.package = the_package AND q.version = the_version
    ORDER BY q.due, q.platform, q.abi_tag;
$$;
