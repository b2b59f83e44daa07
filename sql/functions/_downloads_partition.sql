-- Creates the partition of downloads for a month, unless it exists. Implausible months stay in the default partition.
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
    -- Rows with later times are in the default partition; they must leave it before the new one is attached.
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
