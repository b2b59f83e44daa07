-- ABIs. Builds may be for ABIs that are not listed any more: these are not built for here, either.
INSERT INTO build_abis (abi_tag, position, skip)
SELECT DISTINCT ON (abi_tag) abi_tag, piwheels._abi_position(abi_tag), coalesce(skip, '')
FROM (
    SELECT abi_tag, skip, true AS listed FROM peer.build_abis
    UNION ALL SELECT abi_tag, 'only earlier builds are for it', false FROM peer.builds GROUP BY abi_tag
) AS a
WHERE abi_tag ~ '^[A-Za-z0-9_]+$' AND length(abi_tag) <= 200 AND abi_tag NOT IN ('none', 'abi3', 'abi3t')
ORDER BY abi_tag, NOT listed
ON CONFLICT DO NOTHING;

INSERT INTO peer.left_out (kind, what, why)
SELECT 'build_abis', abi_tag, 'it is not the tag of an ABI' FROM peer.build_abis a
WHERE NOT EXISTS (SELECT FROM build_abis b WHERE b.abi_tag = a.abi_tag);
