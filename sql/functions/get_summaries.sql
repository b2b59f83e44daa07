-- Returns what each of the packages is, in one line of at most the_length characters. Omits packages of which nothing is known.
CREATE FUNCTION piwheels.get_summaries(the_packages text[], the_length integer) RETURNS TABLE (package text, summary text)
LANGUAGE sql STABLE AS $$
    SELECT p.package, left(coalesce(nullif(p.description, ''), p.summary), the_length)
    FROM packages p WHERE p.package = ANY (the_packages) AND (p.description <> '' OR p.summary <> '');
$$;
