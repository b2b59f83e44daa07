-- Follows those versions of a project upstream that the farm has.
CREATE FUNCTION piwheels._pin_package(the_package text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO watched AS w (package, pinned) VALUES (the_package, true)
        -- A new version is to be compared with the page, even if the page is unchanged.
        ON CONFLICT (package) DO UPDATE SET pinned = true, polled = false, serial = 0, etag = '', modified = '';
$$;
