-- Records pending rewrites in addition to existing ones. The earlier time stays; BOTH replaces PROJECT.
CREATE FUNCTION piwheels.save_rewrites_pending(
    the_packages text[], the_times timestamptz[], the_commands text[]
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO rewrites_pending AS r (package, added_at, command)
        SELECT package, min(added_at), min(command)
        FROM unnest(the_packages, the_times, the_commands) AS k (package, added_at, command)
        GROUP BY package ORDER BY package
        ON CONFLICT (package) DO UPDATE SET
            note = EXCLUDED.note,
            added_at = least(r.added_at, EXCLUDED.added_at),
            command = least(r.command, EXCLUDED.command);
$$;
