-- Has the failures that count_reason counts built again, as if nothing had been tried: deletes all failed builds of these
-- versions for these targets. Returns the package of each failure.
CREATE FUNCTION piwheels.retry_reason(the_reason text, the_subject text, the_time timestamptz) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    chosen bigint[];
    deleted bigint[];
BEGIN
    SELECT array_agg(build_id) INTO chosen FROM failures
        WHERE reason = the_reason AND (the_subject IS NULL OR subject = the_subject) AND built_at >= the_time;
    SELECT array_agg(o.build_id) INTO deleted FROM builds b JOIN builds o USING (package, version, platform, abi_tag)
        WHERE b.build_id = ANY (chosen) AND NOT o.status;
    RETURN QUERY SELECT package::text FROM builds WHERE build_id = ANY (chosen);
    PERFORM _delete_failed(deleted);
END
$$;
