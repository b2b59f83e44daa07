-- Records that the pages of the packages that need this package must be written, because its own page is new or gone.
CREATE FUNCTION piwheels.links_changed(the_package text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO links_pending (package)
        SELECT package FROM packages WHERE needs @> ARRAY[the_package]
        ON CONFLICT DO NOTHING;
$$;
