-- Adds to a counter. Each change is a new row, so that concurrent transactions never block each other.
CREATE FUNCTION piwheels._count(the_counter text, the_key text, the_change numeric) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO counters (counter, key, value) SELECT the_counter, the_key, the_change
    WHERE the_change <> 0;
$$;
