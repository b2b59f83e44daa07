-- How each version is spelled there and here. Of several spellings, the one with builds stays. key: equal for all spellings.
CREATE TABLE peer.spellings AS
SELECT DISTINCT their_package, their_version, package, key,
    first_value(their_version) OVER best COLLATE "C" AS version, first_value(their_package) OVER best AS chosen
FROM (
    SELECT v.package AS their_package, v.version AS their_version, n.package, v.key, b.version IS NOT NULL AS built
    FROM peer.versions v JOIN peer.names n ON n.spelled = v.package
    LEFT JOIN (SELECT DISTINCT package, version FROM peer.builds WHERE status) AS b
        ON b.package = v.package AND b.version = v.version
    WHERE v.key IS NOT NULL AND length(v.version) <= 200 AND v.skip IS DISTINCT FROM 'deleted'
) AS v
WINDOW best AS (PARTITION BY package, key ORDER BY NOT built, their_package <> package, their_version COLLATE "C");
CREATE INDEX ON peer.spellings (their_package, their_version);
ANALYZE peer.spellings;

INSERT INTO peer.left_out (kind, what, why)
SELECT 'versions', v.package || ' ' || v.version, CASE
    WHEN v.skip = 'deleted' THEN 'it is marked as deleted'
    WHEN v.key IS NULL OR length(v.version) > 200 THEN 'it is not a version (PEP 440)'
    ELSE 'its package was left out' END
FROM peer.versions v
WHERE NOT EXISTS (SELECT FROM peer.spellings s WHERE s.their_package = v.package AND s.their_version = v.version);

INSERT INTO peer.changed (kind, what, why)
SELECT 'versions', their_package || ' ' || their_version, format('is %s %s here', package, version)
FROM peer.spellings WHERE their_version <> version;

INSERT INTO versions (package, version, released, skip, yanked)
SELECT DISTINCT ON (s.package, s.version)
    s.package, s.version, coalesce(v.released, now()), coalesce(v.skip, ''), coalesce(v.yanked, false)
FROM peer.spellings s
JOIN peer.versions v ON v.package = s.their_package AND v.version = s.their_version
WHERE s.their_version = s.version AND s.their_package = s.chosen
ORDER BY s.package, s.version;
