-- Who may do what. The daemon's role (:"user") owns nothing: it reads, and calls functions. Run by piw-initdb
-- after functions and views; the loop is here so that no function can be forgotten.

DO $$
DECLARE
    routine record;
BEGIN
    FOR routine IN
        SELECT p.oid::regprocedure AS name, p.provolatile <> 'i' AS reads,
            p.prorettype <> 'trigger'::regtype AND NOT starts_with(p.proname, '_') AS callable
        FROM pg_proc p WHERE p.pronamespace = 'piwheels'::regnamespace
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine.name);
        -- With the rights of their owner, and with a search path that nobody can slip anything into.
        -- An immutable one touches no table, and stays as it is so that it can be inlined.
        IF routine.reads THEN
            EXECUTE format(
                'ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, piwheels, public, pg_temp',
                routine.name
            );
        END IF;
        IF routine.callable THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', routine.name, :'user');
        END IF;
    END LOOP;
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public, piwheels TO :"user";
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM :"user";
GRANT SELECT ON ALL TABLES IN SCHEMA public, piwheels TO :"user";
