-- Deletes download counts that have expired: those by day after 30 days, those by minute after an hour.
CREATE FUNCTION piwheels._forget_downloads() RETURNS void LANGUAGE sql AS $$
    DELETE FROM downloads_recent WHERE day <= (now() AT TIME ZONE 'UTC')::date - 30;
    DELETE FROM counters WHERE counter = 'downloads_day' AND key <= ((now() AT TIME ZONE 'UTC')::date - 30)::text;
    DELETE FROM counters WHERE counter = 'downloads_minute' AND key <= (now() AT TIME ZONE 'UTC' - interval '1 hour')::text;
$$;
