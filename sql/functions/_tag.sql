-- Returns what a tag stands for, in the notation of _accepted_tags: itself with the family of its platform, and with 'native'.
CREATE FUNCTION piwheels._tag(the_python text, the_abi text, the_platform text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE lower(the_platform) WHEN 'any' THEN ARRAY[lower(the_python || '-' || the_abi || '-any')]
        ELSE ARRAY[
            lower(the_python || '-' || the_abi) || '-' || piwheels._family(the_platform),
            lower(the_python || '-' || the_abi || '-native')
        ] END;
$$;
