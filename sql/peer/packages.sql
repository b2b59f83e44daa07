-- What the projects are called there (spelled) and here (package). Projects that are marked as deleted stay behind.
CREATE TABLE peer.names AS
SELECT DISTINCT spelled, piwheels._canonical_name(spelled) COLLATE "C" AS package
FROM (SELECT package AS spelled, skip FROM peer.packages) AS p
WHERE spelled ~ '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$' AND length(spelled) <= 200 AND skip IS DISTINCT FROM 'deleted';
CREATE INDEX ON peer.names (spelled);
ANALYZE peer.names;

INSERT INTO peer.left_out (kind, what, why)
SELECT 'packages', p.package, CASE p.skip WHEN 'deleted' THEN 'it is marked as deleted' ELSE 'it is not the name of a project' END
FROM peer.packages p WHERE NOT EXISTS (SELECT FROM peer.names n WHERE n.spelled = p.package);

-- Of two spellings, the normalized one counts first.
INSERT INTO packages (package, skip, description)
SELECT n.package, coalesce(min(p.skip) FILTER (WHERE p.skip <> ''), ''),
    coalesce((array_agg(p.description ORDER BY n.spelled <> n.package) FILTER (WHERE p.description <> ''))[1], '')
FROM peer.names n JOIN peer.packages p ON p.package = n.spelled
GROUP BY n.package;

INSERT INTO peer.changed (kind, what, why)
SELECT 'packages', spelled, format('is %s here', package) FROM peer.names WHERE spelled <> package;
