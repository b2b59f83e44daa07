-- Fails if packages have versions other than the known ones, so that the caller reads them and compares their spellings again.
-- Call it after locking the packages.
CREATE FUNCTION piwheels._check_known(the_packages text[], the_known_packages text[], the_known_versions text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT v.package, v.version FROM versions v WHERE v.package = ANY (the_packages)
        EXCEPT
        SELECT k.package COLLATE "C", k.version COLLATE "C"
            FROM unnest(the_known_packages, the_known_versions) AS k (package, version)
    ) THEN
        RAISE EXCEPTION 'somebody else has added versions in the meantime' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;
