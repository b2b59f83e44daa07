-- Requests that the pages of a package are written. BOTH replaces PROJECT; the first time stays; the note number is new.
CREATE FUNCTION piwheels.add_rewrite(the_package text, the_command text) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO rewrites_pending AS r (package, added_at, command)
        VALUES (the_package, clock_timestamp(), the_command)
        ON CONFLICT (package) DO UPDATE
        SET note = EXCLUDED.note, command = least(r.command, EXCLUDED.command);
$$;
