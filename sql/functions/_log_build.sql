-- Inserts one build and its files. Raises a code word with a detail for an invalid build; log_builds then undoes it.
CREATE FUNCTION piwheels._log_build(build jsonb) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    the_package CONSTANT text := build ->> 'package';
    the_version CONSTANT text := build ->> 'version';
    the_abi CONSTANT text := build ->> 'abi_tag';
    the_slave CONSTANT bigint := (build ->> 'slave_id')::bigint;  -- 0: imported
    -- A failed build has no files, even if it claims some: none was transferred or verified.
    the_files CONSTANT jsonb := CASE WHEN (build ->> 'status')::boolean
        THEN build -> 'files' ELSE '[]'::jsonb END;
    -- An import says it by its files.
    the_platform CONSTANT text := coalesce(nullif(build ->> 'platform', ''), (
        SELECT min(_family(tag)) FROM jsonb_array_elements(the_files) AS f,
            unnest(string_to_array(f ->> 'platform_tag', '.')) AS tag
        WHERE lower(tag) <> 'any'
    ), '');
    the_recipe CONSTANT bigint := _recipe(build -> 'recipe');
    the_retry CONSTANT jsonb := build -> 'retry';
    the_build bigint;
    foreign_name text;
    written bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM versions WHERE package = the_package AND version = the_version) THEN
        RAISE EXCEPTION 'NOVER' USING DETAIL = format('there is no %s %s', the_package, the_version);
    ELSIF NOT EXISTS (SELECT FROM build_abis WHERE abi_tag = the_abi) THEN
        RAISE EXCEPTION 'NOABI' USING DETAIL = format('%s is not an ABI that this farm builds for', the_abi);
    END IF;
    SELECT f ->> 'filename' INTO foreign_name FROM jsonb_array_elements(the_files) AS f
        WHERE _canonical_name(split_part(f ->> 'filename', '-', 1)) <> _canonical_name(the_package);
    IF FOUND THEN
        RAISE EXCEPTION 'FILECONFLICT'
            USING DETAIL = format('%s is not a file of %s', foreign_name, the_package);
    END IF;

    SELECT f ->> 'filename' INTO foreign_name FROM jsonb_array_elements(the_files) AS f
        JOIN retired_files r ON r.filename = f ->> 'filename' AND r.filehash <> f ->> 'filehash';
    IF FOUND THEN
        RAISE EXCEPTION 'FILECONFLICT'
            USING DETAIL = format('%s was published with other bytes before it was removed', foreign_name);
    END IF;

    -- Its source says for which Pythons it is, unless upstream has said it.
    UPDATE versions SET requires_python = build ->> 'requires_python', excluded = (build ->> 'excluded')::bigint
        WHERE package = the_package AND version = the_version
        AND requires_python IS NULL AND (build ->> 'excluded')::bigint <> 0;

    INSERT INTO builds (
        package, version, platform, abi_tag, status, built_by, label, owner, final, reason, subject, cause, counts, recipe_id,
        duration
    )
        SELECT the_package, the_version, the_platform, the_abi, (build ->> 'status')::boolean,
            the_slave,
            CASE WHEN the_slave = 0 THEN 'import' ELSE build ->> 'label' END,
            build ->> 'owner', (build ->> 'final')::boolean,
            build ->> 'reason', build ->> 'subject', build ->> 'cause', (build ->> 'counts')::boolean, the_recipe,
            -- At most a year, so that a wrong clock of a slave cannot spoil the sum
            make_interval(secs => least(greatest((build ->> 'duration')::float8, 0), 31536000))
        RETURNING build_id INTO the_build;

    -- An existing file moves to this build, if version and bytes are the same.
    INSERT INTO files AS f (
        filename, build_id, filesize, filehash, package_tag, package_version_tag, py_version_tag,
        abi_tag, platform_tag, requires_python, location, metadata_hash,
        installs, imports, trial_why, connects, starts
    )
        SELECT n.filename, the_build, n.filesize, n.filehash, n.package_tag, n.package_version_tag,
            n.py_version_tag, n.abi_tag, n.platform_tag, n.requires_python, n.location, n.metadata_hash,
            n.installs, n.imports, n.trial_why, n.connects, n.starts
        FROM jsonb_populate_recordset(NULL::files, the_files) AS n
        ORDER BY n.filename
        ON CONFLICT (filename) DO UPDATE SET
            build_id = EXCLUDED.build_id,
            requires_python = EXCLUDED.requires_python,
            location = EXCLUDED.location,
            metadata_hash = coalesce(EXCLUDED.metadata_hash, f.metadata_hash),
            installs = EXCLUDED.installs,
            imports = EXCLUDED.imports,
            trial_why = EXCLUDED.trial_why,
            connects = EXCLUDED.connects,
            starts = EXCLUDED.starts
        WHERE f.filehash = EXCLUDED.filehash AND EXISTS (
            SELECT FROM builds b WHERE b.build_id = f.build_id
            AND b.package = the_package AND b.version = the_version
        );
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> jsonb_array_length(the_files) THEN
        RAISE EXCEPTION 'FILECONFLICT' USING DETAIL = format(
            'a file of %s %s exists already, for another version or with other bytes',
            the_package, the_version
        );
    END IF;
    DELETE FROM dependencies d USING jsonb_array_elements(the_files) AS f
        WHERE d.filename = f ->> 'filename';
    INSERT INTO dependencies (filename, tool, dependency)
        SELECT DISTINCT f ->> 'filename', d.tool, d.dependency
        FROM jsonb_array_elements(the_files) AS f
        CROSS JOIN jsonb_to_recordset(f -> 'dependencies') AS d (tool text, dependency text);

    DELETE FROM leases
        WHERE package = the_package AND version = the_version AND abi_tag = the_abi
        AND platform IN (the_platform, 'any') AND the_slave <> 0;
    INSERT INTO fetches (build_id, position, url, size, sha256, refused)
        SELECT the_build, f.position, f.part ->> 'url', (f.part ->> 'size')::bigint, f.part ->> 'sha256',
            f.part ->> 'refused'
        FROM jsonb_array_elements(build -> 'fetches') WITH ORDINALITY AS f (part, position);
    INSERT INTO build_logs_pending (build_id, output) VALUES (the_build, build ->> 'output');

    -- Without a target for its own platform, a retry is for a target any/ABI, which a build on any platform serves.
    DELETE FROM retries t
        WHERE t.package = the_package AND t.version = the_version AND t.abi_tag = the_abi
        AND (t.platform = the_platform OR NOT EXISTS (
            SELECT FROM active_targets a WHERE a.platform = t.platform AND a.abi_tag = the_abi
        ));
    IF jsonb_typeof(the_retry) = 'object' THEN
        INSERT INTO retries (build_id, package, version, platform, abi_tag, attempt, tried, recipe_id, due, ready)
            SELECT the_build, the_package, the_version, the_platform, the_abi, r.attempt, r.tried, _recipe(r.recipe),
                coalesce(now() + make_interval(secs => r.delay), 'infinity'), coalesce(r.delay <= 0, false)
            FROM jsonb_to_record(the_retry) AS r (attempt smallint, tried text[], recipe jsonb, delay float8);
    END IF;
    -- What worked is tried first for the next version, unless an operator has written something.
    IF the_recipe IS NOT NULL AND (build ->> 'status')::boolean AND build -> 'keeps' <> '{}' THEN
        INSERT INTO project_recipes AS p (package, recipe_id, by_operator)
            VALUES (the_package, _recipe(build -> 'keeps'), false)
            ON CONFLICT (package) DO UPDATE SET recipe_id = EXCLUDED.recipe_id, since = now()
            WHERE NOT p.by_operator AND p.recipe_id <> EXCLUDED.recipe_id;
    END IF;
    -- Failures of the farm may be many.
    DELETE FROM builds WHERE NOT counts AND build_id IN (
        SELECT b.build_id FROM builds b
        WHERE b.package = the_package AND b.version = the_version AND b.abi_tag = the_abi AND NOT b.counts
        ORDER BY b.build_id DESC OFFSET 20
    );
    RETURN the_build;
END
$$;
