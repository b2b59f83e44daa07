-- Makes the commit of this transaction asynchronous. For changes that a crash may undo without harm: a lease expires or is
-- renewed, a page or a log is written again with the same bytes.
CREATE FUNCTION piwheels._async_commit() RETURNS void LANGUAGE sql AS $$
    SELECT set_config('synchronous_commit', 'off', true);
$$;
