-- Do not wait for the disk at the end of this transaction: what it notes heals itself if a crash takes it (a lease ends
-- or is renewed, a page or a log is written again with the same bytes).
CREATE FUNCTION piwheels._relaxed() RETURNS void LANGUAGE sql AS $$
    SELECT set_config('synchronous_commit', 'off', true);
$$;
