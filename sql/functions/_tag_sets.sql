-- Returns the tags that compressed tag sets (PEP 425) stand for, in the notation of _accepted_tags.
CREATE FUNCTION piwheels._tag_sets(the_pythons text, the_abis text, the_platforms text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY(
        SELECT DISTINCT unnest(piwheels._tag(python, abi, platform))
        FROM unnest(string_to_array(the_pythons, '.')) AS python,
            unnest(string_to_array(the_abis, '.')) AS abi,
            unnest(string_to_array(the_platforms, '.')) AS platform
    );
$$;
