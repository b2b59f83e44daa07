-- Note that pages are to be written: BOTH wins over PROJECT, the first time stays. (The clock's time, not that of the
-- transaction: rewrite_done must not take it for one that was there before.)
CREATE FUNCTION piwheels.add_rewrite(the_package text, the_command text) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO rewrites_pending AS r (package, added_at, asked_at, command)
        VALUES (the_package, clock_timestamp(), clock_timestamp(), the_command)
        ON CONFLICT (package) DO UPDATE
        SET asked_at = EXCLUDED.asked_at, command = least(r.command, EXCLUDED.command);
$$;
