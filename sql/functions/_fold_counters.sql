-- Merges the rows of each counter into one.
CREATE FUNCTION piwheels._fold_counters() RETURNS void LANGUAGE sql AS $$
    WITH many AS (
        SELECT counter, key FROM counters GROUP BY counter, key HAVING count(*) > 1
    ), gone AS (
        DELETE FROM counters c USING many m WHERE c.counter = m.counter AND c.key = m.key
        RETURNING c.counter, c.key, c.value
    )
    INSERT INTO counters (counter, key, value)
    SELECT counter, key, sum(value) FROM gone GROUP BY counter, key;
$$;
