-- Whether the builds that count of a version for a target settle that it needs no further one. A failure does if it is final, or if two
-- owners agree, or one owner on two days. failed_by and failed_at are meaningful if nothing is settled: the first failure.
CREATE VIEW piwheels.build_opinions AS
SELECT package, version, platform, abi_tag, min(owner) AS failed_by, min(built_at) AS failed_at,
    bool_or(status OR final) OR min(owner) <> max(owner)
    OR max(built_at) >= min(built_at) + interval '24 hours' AS settled
FROM public.builds
WHERE counts
GROUP BY package, version, platform, abi_tag;
