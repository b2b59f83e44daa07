-- Privileges. The daemon's role (:"user") owns nothing: it may read tables and call functions. piw-initdb runs this
-- after functions and views. The loop covers every function, so none can be forgotten.

DO $$
DECLARE
    routine record;
BEGIN
    FOR routine IN
        SELECT p.oid::regprocedure AS name, p.provolatile <> 'i' AS reads,
            -- Views call immutable functions as the role that reads the view.
            p.prorettype <> 'trigger'::regtype AND (NOT starts_with(p.proname, '_') OR p.provolatile = 'i') AS callable
        FROM pg_proc p WHERE p.pronamespace = 'piwheels'::regnamespace
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine.name);
        -- Functions run with the privileges of their owner, and with a search path that no other role can modify.
        -- Immutable functions read no tables; they stay unchanged so that PostgreSQL can inline them.
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
