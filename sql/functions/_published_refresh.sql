-- Removes packages from published that have lost their last file.
CREATE FUNCTION piwheels._published_refresh(the_packages text[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    removed bigint;
BEGIN
    IF the_packages IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM packages p WHERE p.package = ANY (the_packages) ORDER BY p.package FOR NO KEY UPDATE;
    DELETE FROM published p WHERE p.package = ANY (the_packages) AND NOT EXISTS (
        SELECT FROM builds b
        CROSS JOIN LATERAL (SELECT FROM files WHERE build_id = b.build_id OFFSET 0) AS f
        WHERE b.package = p.package
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM _count('packages_built', '', -removed);
END
$$;
