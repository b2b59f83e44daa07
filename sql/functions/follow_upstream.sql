-- Stores changes of the upstream index (UpstreamPackage and UpstreamVersion in core/database/rows.py, as objects) and
-- the_serial (null: unchanged) in one transaction, so that the serial never precedes its changes. Returns the packages
-- whose pages must be written, and how; the rewrites are already recorded as pending.
--
-- Versions whose sources are new or have changed are tried again if the last build failed for the lack of good ones.
--
-- It never replaces an operator's skip reason, and never undoes an operator's yank. Packages and versions that were
-- removed upstream are only marked ('deleted'): the site changes first, then delete_package and delete_version.
--
-- The caller has compared the spellings of the versions with the known versions of their packages; if there are others,
-- this fails (_check_known).
CREATE FUNCTION piwheels.follow_upstream(
    the_packages jsonb, the_versions jsonb, binary_only text, the_serial bigint, the_known_packages text[],
    the_known_versions text[]
) RETURNS TABLE (which text, how text)
LANGUAGE plpgsql
AS $$
DECLARE
    names text[] := ARRAY(
        SELECT DISTINCT k.package FROM jsonb_to_recordset(the_packages || the_versions) AS k (package text)
    );
    shown text[];   -- packages whose project page changes
    listed text[];  -- packages whose page in the index changes too
    urgent text[];  -- packages whose pages must change immediately
    more text[];
    renewed text[];           -- versions with new or changed sources, and their packages
    renewed_packages text[];
BEGIN
    PERFORM _queue_lock(false);
    INSERT INTO packages (package)
        SELECT k.package FROM jsonb_to_recordset(the_packages) AS k (package text, known boolean)
        WHERE k.known ORDER BY k.package
        ON CONFLICT DO NOTHING;
    PERFORM FROM packages p WHERE p.package = ANY (names) ORDER BY p.package FOR NO KEY UPDATE;
    PERFORM _check_known(names, the_known_packages, the_known_versions);
    INSERT INTO package_names AS n (name, package, seen)
        SELECT k.name, p.package, k.seen
        FROM jsonb_to_recordset(the_packages) AS k (package text, name text, seen timestamptz)
        JOIN packages p ON p.package = k.package
        WHERE k.name <> '' ORDER BY k.name
        ON CONFLICT (name) DO UPDATE
        SET package = EXCLUDED.package, seen = greatest(n.seen, EXCLUDED.seen);

    WITH made AS (
        INSERT INTO versions AS v (
            package, version, released, skip, sources, yanked, yank_reason, yanked_upstream, quarantined,
            upstream_wheels, requires_python, excluded, sources_digest
        )
            SELECT k.package, k.version, k.released, CASE k.added WHEN '{}' THEN binary_only ELSE '' END,
                k.added, coalesce(k.yanked, false), CASE WHEN k.yanked THEN k.yank_reason ELSE '' END,
                coalesce(k.yanked, false), coalesce(k.quarantined, false), k.wheels,
                k.requires_python, coalesce(k.excluded, 0), coalesce(k.digest, '')
            FROM jsonb_to_recordset(the_versions) AS k (
                package text, version text, released timestamptz, added text[], yanked boolean,
                yank_reason text, quarantined boolean, wheels text, requires_python text, excluded bigint,
                digest text
            )
            JOIN packages p ON p.package = k.package
            WHERE k.released IS NOT NULL ORDER BY k.package, k.version
            ON CONFLICT DO NOTHING
            RETURNING v.package
    )
    SELECT array_agg(package) INTO shown FROM made;

    PERFORM _lock_versions(array_agg(k.package), array_agg(k.version))
        FROM jsonb_to_recordset(the_versions) AS k (package text, version text);
    WITH wanted AS (
        SELECT v.package, v.version, s.sources,
            CASE
                WHEN k.deleted THEN 'deleted'
                WHEN v.skip = binary_only AND s.sources <> '{}' THEN ''
                WHEN v.skip = '' AND v.sources <> '{}' AND s.sources = '{}' THEN binary_only
                ELSE v.skip
            END AS skip,
            coalesce(k.quarantined, v.quarantined) AS quarantined,
            coalesce(k.uploaded, v.released) AS released,
            greatest(k.wheels, v.upstream_wheels) AS upstream_wheels,  -- 'pure', then 'native', then ''
            coalesce(k.requires_python, v.requires_python) AS requires_python,
            CASE WHEN k.requires_python IS NULL THEN v.excluded ELSE k.excluded END AS excluded,
            coalesce(nullif(k.digest, ''), v.sources_digest) AS sources_digest,
            s.sources <> '{}' AND (k.added <> '{}' OR nullif(k.digest, '') <> v.sources_digest) AS renewed,
            CASE
                WHEN k.yanked THEN v.yanked OR NOT v.yanked_upstream
                ELSE v.yanked AND (k.yanked IS NULL OR NOT v.yanked_upstream)
            END AS yanked,
            CASE
                WHEN k.yanked AND v.yanked = v.yanked_upstream THEN coalesce(nullif(k.yank_reason, ''), v.yank_reason)
                WHEN NOT k.yanked AND v.yanked_upstream THEN ''
                ELSE v.yank_reason
            END AS yank_reason,
            CASE
                WHEN k.yanked THEN v.yanked_upstream OR NOT v.yanked
                ELSE v.yanked_upstream AND k.yanked IS NULL
            END AS yanked_upstream
        FROM jsonb_to_recordset(the_versions) AS k (
            package text, version text, added text[], removed text[], yanked boolean, yank_reason text,
            quarantined boolean, deleted boolean, uploaded timestamptz, wheels text, requires_python text,
            excluded bigint, digest text
        )
        JOIN versions v ON v.package = k.package AND v.version = k.version
        CROSS JOIN LATERAL (
            SELECT ARRAY(
                SELECT f.name FROM (
                    (SELECT unnest(v.sources) UNION SELECT unnest(k.added)) EXCEPT SELECT unnest(k.removed)
                ) AS f (name) ORDER BY f.name COLLATE "C"
            )::varchar[] AS sources
        ) AS s
    ), changed AS (
        UPDATE versions v
            SET sources = w.sources, skip = w.skip, quarantined = w.quarantined, yanked = w.yanked,
                yank_reason = w.yank_reason, yanked_upstream = w.yanked_upstream, released = w.released,
                upstream_wheels = w.upstream_wheels, requires_python = w.requires_python, excluded = w.excluded,
                sources_digest = w.sources_digest
            FROM wanted w JOIN versions was USING (package, version)
            WHERE v.package = w.package AND v.version = w.version
            AND (v.sources, v.skip, v.quarantined, v.yanked, v.yank_reason, v.yanked_upstream, v.released, v.upstream_wheels,
                v.requires_python, v.excluded, v.sources_digest)
                IS DISTINCT FROM
                (w.sources, w.skip, w.quarantined, w.yanked, w.yank_reason, w.yanked_upstream, w.released, w.upstream_wheels,
                w.requires_python, w.excluded, w.sources_digest)
            RETURNING v.package, v.skip = 'deleted' OR (v.yanked, v.yank_reason) <> (was.yanked, was.yank_reason) AS lists,
                v.quarantined <> was.quarantined AS hides
    )
    SELECT shown || array_agg(package), array_agg(package) FILTER (WHERE lists),
        array_agg(package) FILTER (WHERE hides),
        (SELECT array_agg(w.version ORDER BY w.package, w.version) FROM wanted w WHERE w.renewed),
        (SELECT array_agg(w.package ORDER BY w.package, w.version) FROM wanted w WHERE w.renewed)
        INTO shown, listed, urgent, renewed, renewed_packages FROM changed;

    -- New or changed sources may cure what their absence has caused.
    INSERT INTO retries AS r (build_id, package, version, platform, abi_tag, attempt, tried, recipe_id, due, ready)
        SELECT b.build_id, b.package, b.version, b.platform, b.abi_tag, 1, '{}', b.recipe_id, now(), true
        FROM unnest(renewed_packages, renewed) AS k (package, version)
        CROSS JOIN LATERAL (
            SELECT DISTINCT ON (l.platform, l.abi_tag) * FROM builds l
            WHERE l.package = k.package AND l.version = k.version
            ORDER BY l.platform, l.abi_tag, l.build_id DESC
        ) AS b
        WHERE NOT b.status AND b.reason IN ('no-source', 'gone', 'hash-mismatch', 'corrupt-source', 'incomplete-source')
        ON CONFLICT (package, version, platform, abi_tag) DO UPDATE SET due = now(), ready = true;

    WITH changed AS (
        UPDATE packages p
            SET status = coalesce(k.status, p.status), skip = CASE WHEN k.deleted THEN 'deleted' ELSE p.skip END
            FROM jsonb_to_recordset(the_packages) AS k (package text, status text, deleted boolean)
            WHERE p.package = k.package AND (k.status <> p.status OR k.deleted AND p.skip <> 'deleted')
            RETURNING p.package
    )
    SELECT array_agg(package) INTO more FROM changed;

    IF the_serial IS NOT NULL THEN
        UPDATE configuration SET pypi_serial = the_serial;
    END IF;
    RETURN QUERY
        WITH asked AS (
            SELECT s.package, min(s.command) AS command, bool_or(s.urgent) AS urgent FROM (
                SELECT unnest(shown), 'PROJECT', false
                UNION ALL SELECT unnest(listed), 'BOTH', false
                UNION ALL SELECT unnest(urgent || more), 'BOTH', true
                -- Earlier notes: the master may not know of them, if the connection failed before this function returned
                UNION ALL SELECT r.package, r.command, false FROM rewrites_pending r WHERE r.package = ANY (names)
            ) AS s (package, command, urgent)
            GROUP BY s.package
        ), noted AS (
            INSERT INTO rewrites_pending AS r (package, added_at, command)
                SELECT a.package, clock_timestamp(), a.command FROM asked a ORDER BY a.package
                ON CONFLICT (package) DO UPDATE
                SET note = EXCLUDED.note, command = least(r.command, EXCLUDED.command)
        )
        SELECT a.package, CASE WHEN a.urgent THEN 'URGENT' ELSE a.command END FROM asked a;
END
$$;
