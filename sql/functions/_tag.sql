-- Returns a tag in the notation of _accepted_tags.
CREATE FUNCTION piwheels._tag(the_python text, the_abi text, the_platform text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(the_python || '-' || the_abi) || CASE lower(the_platform) WHEN 'any' THEN '-any' ELSE '-native' END;
$$;
