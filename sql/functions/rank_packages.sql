-- Brings the popularity of at most the_limit packages up to date, by the downloads of the last 30 days. Returns how many have
-- changed.
CREATE FUNCTION piwheels.rank_packages(the_limit integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    changed text[];
BEGIN
    SELECT array_agg(k.package ORDER BY k.package) INTO changed FROM (
        SELECT package FROM packages p
        LEFT JOIN (
            SELECT r.package, _popularity(sum(r.downloads)) AS popularity FROM downloads_recent r
            WHERE r.day > (now() AT TIME ZONE 'UTC')::date - 30 GROUP BY r.package
        ) AS r USING (package)
        WHERE p.popularity <> coalesce(r.popularity, 0)
        LIMIT the_limit
    ) AS k;
    IF changed IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM _queue_lock(false);
    PERFORM FROM packages p WHERE p.package = ANY (changed) ORDER BY p.package FOR NO KEY UPDATE;
    UPDATE packages p SET popularity = coalesce((
            SELECT _popularity(sum(r.downloads)) FROM downloads_recent r
            WHERE r.package = p.package AND r.day > (now() AT TIME ZONE 'UTC')::date - 30
        ), 0)
        WHERE p.package = ANY (changed);
    RETURN cardinality(changed);
END
$$;
