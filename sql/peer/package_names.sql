-- Aliases. A name of two projects stays with the one that it spells, or that was seen last.
CREATE TABLE peer.aliases AS
SELECT a.name, n.package, a.seen
FROM (
    SELECT package, name, seen FROM peer.package_names
    UNION ALL SELECT spelled, spelled, NULL FROM peer.names WHERE spelled <> package
) AS a JOIN peer.names n ON n.spelled = a.package
WHERE a.name ~ '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$' AND length(a.name) <= 200
AND NOT EXISTS (SELECT FROM packages p WHERE p.package = piwheels._canonical_name(a.name) AND p.package <> n.package);

INSERT INTO peer.left_out (kind, what, why)
SELECT 'package_names', a.name, format('it is not another spelling of %s', a.package)
FROM peer.package_names a
WHERE NOT EXISTS (SELECT FROM peer.aliases k WHERE k.name = a.name);

INSERT INTO package_names (name, package, seen)
SELECT DISTINCT ON (name) name, package, coalesce(seen, now()) FROM peer.aliases
ORDER BY name, piwheels._canonical_name(name) <> package, seen DESC NULLS LAST, package;
