INSERT INTO dependencies (filename, tool, dependency)
SELECT DISTINCT f.filename, coalesce(d.tool, ''), d.dependency
FROM peer.dependencies d JOIN files f USING (filename)
WHERE coalesce(d.tool, '') IN ('apt', 'pip', '') AND d.dependency <> '' AND length(d.dependency) <= 200;

INSERT INTO peer.left_out (kind, what, why)
SELECT 'dependencies', format('%s %s', d.tool, d.dependency), format('of %s', d.filename)
FROM peer.dependencies d JOIN files f USING (filename)
WHERE (coalesce(d.tool, '') IN ('apt', 'pip', '') AND d.dependency <> '' AND length(d.dependency) <= 200) IS NOT TRUE;
