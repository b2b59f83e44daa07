-- Records a failed build that does not count, because its slave seems to be at fault, and ends the lease. Returns false, and
-- does nothing, if the build has to count: the version was put off the_tries times (null: never) in the last week, or by three
-- slaves.
CREATE FUNCTION piwheels.put_off_build(
    the_package text, the_version text, the_platform text, the_abi text, the_label text, the_reason text, the_output text,
    the_tries integer
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    tried bigint;
    slaves bigint;
BEGIN
    PERFORM FROM versions WHERE package = the_package AND version = the_version FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM builds_put_off WHERE put_off_at < now() - interval '90 days';
    SELECT count(*), count(DISTINCT label) FILTER (WHERE label <> the_label) INTO tried, slaves
        FROM builds_put_off
        WHERE package = the_package AND version = the_version AND platform = the_platform AND abi_tag = the_abi
        AND put_off_at > now() - interval '7 days';
    IF the_tries IS NOT NULL AND (tried + 1 >= the_tries OR slaves >= 2) THEN
        RETURN false;
    END IF;
    INSERT INTO builds_put_off (package, version, platform, abi_tag, label, reason, output)
        VALUES (the_package, the_version, the_platform, the_abi, the_label, the_reason, the_output);
    PERFORM release_lease(the_package, the_version, the_platform, the_abi);
    RETURN true;
END
$$;
