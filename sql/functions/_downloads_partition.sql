-- See to it that downloads of this month have a partition. Months that no honest clock shows stay in the default.
CREATE FUNCTION piwheels._downloads_partition(the_month date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name CONSTANT text := 'downloads_' || to_char(the_month, 'YYYY_MM');
    next_month CONSTANT date := (the_month + interval '1 month')::date;
BEGIN
    IF the_month NOT BETWEEN now()::date - 800 AND now()::date + 1
        OR to_regclass('public.' || quote_ident(name)) IS NOT NULL
    THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('piwheels'), hashtext('downloads'));
    IF to_regclass('public.' || quote_ident(name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.downloads INCLUDING ALL)', name);
    -- Rows that were ahead of their time are in the default, which must be without them.
    EXECUTE format(
        'WITH moved AS (DELETE FROM public.downloads_default '
        'WHERE accessed_at >= %L AND accessed_at < %L RETURNING *) '
        'INSERT INTO public.%I SELECT * FROM moved', the_month, next_month, name
    );
    EXECUTE format(
        'ALTER TABLE public.downloads ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        name, the_month, next_month
    );
END
$$;
