-- Builds keep their numbers, which are the names of their logs. Platform: that of the slave. One for armv7l has also published
-- its wheels for armv6l, so it is the last one.
CREATE TABLE peer.known_builds AS
SELECT DISTINCT ON (b.build_id) b.build_id, s.package, s.version, s.key, b.abi_tag,
    coalesce(b.status, false) AS status, b.built_by, b.built_at, b.duration, coalesce(f.platform, '') AS platform
FROM peer.builds b
JOIN peer.spellings s ON s.their_package = b.package AND s.their_version = b.version
JOIN build_abis a ON a.abi_tag = b.abi_tag
LEFT JOIN (
    SELECT build_id, max(family COLLATE "C") AS platform FROM peer.files WHERE family <> 'any' GROUP BY build_id
) AS f ON f.build_id = b.build_id
WHERE b.build_id BETWEEN 1 AND 999999999999
ORDER BY b.build_id;
CREATE UNIQUE INDEX ON peer.known_builds (build_id);
ANALYZE peer.known_builds;

INSERT INTO peer.left_out (kind, what, why)
SELECT 'builds', coalesce(b.build_id::text, 'one without a number'), format('%s %s for %s is not here', b.package, b.version, b.abi_tag)
FROM peer.builds b WHERE NOT EXISTS (SELECT FROM peer.known_builds k WHERE k.build_id = b.build_id);

INSERT INTO builds (build_id, package, version, abi_tag, platform, status, built_by, built_at, duration)
OVERRIDING SYSTEM VALUE
SELECT build_id, package, version, abi_tag, platform, status, coalesce(built_by, 0), coalesce(built_at, now()),
    least(greatest(coalesce(duration, '0'), '0'), '1 year')
FROM peer.known_builds ORDER BY build_id;
