-- Logs builds. Returns for each its number, or a code word and a sentence. A rejected build leaves no trace and does not
-- affect the others. All locks are taken in a fixed order before anything is written, so that callers cannot deadlock.
CREATE FUNCTION piwheels.log_builds(the_builds jsonb)
RETURNS TABLE (build_id bigint, code text, why text) LANGUAGE plpgsql AS $$
DECLARE
    build jsonb;
    rewritten text[] := '{}';
    commands text[] := '{}';
BEGIN
    PERFORM _lock_versions(array_agg(b ->> 'package'), array_agg(b ->> 'version'))
        FROM jsonb_array_elements(the_builds) AS b;
    FOR build IN SELECT value FROM jsonb_array_elements(the_builds) WITH ORDINALITY ORDER BY ordinality
    LOOP
        build_id := NULL;
        code := NULL;
        why := NULL;
        BEGIN
            build_id := _log_build(build);
            rewritten := rewritten || (build ->> 'package');
            commands := commands || CASE
                WHEN (build ->> 'status')::boolean AND jsonb_array_length(build -> 'files') > 0
                THEN 'BOTH' ELSE 'PROJECT' END;
        EXCEPTION
            WHEN raise_exception THEN
                code := SQLERRM;
                GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
            WHEN integrity_constraint_violation OR data_exception THEN
                code := 'FILECONFLICT';
                why := SQLERRM;
        END;
        RETURN NEXT;
    END LOOP;
    PERFORM add_rewrite(k.package, k.command) FROM (
        SELECT r.package, min(r.command) AS command  -- BOTH comes before PROJECT
        FROM unnest(rewritten, commands) AS r (package, command)
        GROUP BY r.package ORDER BY r.package
    ) AS k;
END
$$;
