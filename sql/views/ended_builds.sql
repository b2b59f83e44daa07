-- Finished builds, as consoles show them (EndedBuild in core/database/rows.py).
CREATE VIEW piwheels.ended_builds AS
SELECT b.build_id, b.built_by AS slave_id, b.label, b.package, b.version, b.abi_tag, b.status, b.duration,
    (SELECT count(*) FROM public.files f WHERE f.build_id = b.build_id) AS files, b.built_at,
    EXISTS (
        SELECT FROM piwheels.build_opinions o
        WHERE o.package = b.package AND o.version = b.version AND o.platform = b.platform
        AND o.abi_tag = b.abi_tag AND NOT o.settled
    ) AS again,
    b.platform, b.reason, b.subject, b.cause, b.counts,
    (SELECT r.content FROM public.recipes r WHERE r.recipe_id = b.recipe_id) AS recipe,
    (SELECT r.due FROM public.retries r WHERE r.build_id = b.build_id AND r.due <> 'infinity') AS retry_at
FROM public.builds b;
