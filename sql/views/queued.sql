-- The queue with the recipe of each build. That of a retry is the retry's own; another build begins with that of its project.
-- Attempt: how many were made before. Tried: the steps so far; project: it begins with what the farm has found.
CREATE VIEW piwheels.queued AS
SELECT q.*, r.content AS recipe, coalesce(t.attempt, 0)::integer AS attempt,
    coalesce(t.tried, CASE WHEN p.by_operator THEN '{}' WHEN p.package IS NOT NULL THEN '{project}' ELSE '{}' END::text[]) AS tried
FROM public.build_queue q
LEFT JOIN LATERAL (
    SELECT t.attempt, t.tried, t.recipe_id FROM public.retries t
    WHERE t.package = q.package AND t.version = q.version AND t.ready
    AND (q.abi_tag = 'any' OR t.abi_tag = q.abi_tag) AND (q.platform = 'any' OR t.platform IN (q.platform, ''))
    ORDER BY t.attempt DESC, t.build_id DESC
    LIMIT 1
) AS t ON true
LEFT JOIN public.project_recipes p ON p.package = q.package AND t.attempt IS NULL
LEFT JOIN public.recipes r ON r.recipe_id = coalesce(t.recipe_id, p.recipe_id);
