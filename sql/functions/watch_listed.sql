-- Watches the projects in the file of names, and ends the watch of those that left it, except for requests of operators.
CREATE FUNCTION piwheels.watch_listed(the_packages text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM watched WHERE NOT asked AND NOT pinned AND package <> ALL (the_packages);
    UPDATE watched SET listed = false WHERE listed AND package <> ALL (the_packages);
    INSERT INTO watched AS w (package, listed) SELECT unnest(the_packages), true
        ON CONFLICT (package) DO UPDATE
        -- What was only pinned begins with the whole page.
        SET listed = true, serial = 0, etag = '', modified = '' WHERE NOT w.listed;
END
$$;
