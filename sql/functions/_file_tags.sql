-- Returns the tags that the name of a wheel stands for, in the notation of _accepted_tags. Most names have one
-- tag; PostgreSQL inlines this function, so that these are fast.
CREATE FUNCTION piwheels._file_tags(the_pythons text, the_abis text, the_platforms text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE strpos(the_pythons || the_abis || the_platforms, '.')
        WHEN 0 THEN piwheels._tag(the_pythons, the_abis, the_platforms)
        ELSE piwheels._tag_sets(the_pythons, the_abis, the_platforms)
    END;
$$;
