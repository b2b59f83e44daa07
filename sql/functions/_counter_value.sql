-- Returns the value of a counter.
CREATE FUNCTION piwheels._counter_value(the_counter text, the_key text = '') RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(value), 0) FROM counters WHERE counter = the_counter AND key = the_key;
$$;
