-- The targets of each ABI: the platforms of its builds; else those of all builds; else any.
CREATE TABLE peer.platforms AS SELECT DISTINCT abi_tag, platform FROM builds WHERE platform <> '';

INSERT INTO targets (platform, abi_tag, position)
SELECT k.platform, a.abi_tag, a.position
FROM build_abis a
CROSS JOIN LATERAL (
    SELECT b.platform FROM peer.platforms b WHERE b.abi_tag = a.abi_tag
    UNION
    SELECT b.platform FROM peer.platforms b
        WHERE NOT EXISTS (SELECT FROM peer.platforms c WHERE c.abi_tag = a.abi_tag)
    UNION
    SELECT 'any' WHERE NOT EXISTS (SELECT FROM peer.platforms)
) AS k
ON CONFLICT DO NOTHING;
