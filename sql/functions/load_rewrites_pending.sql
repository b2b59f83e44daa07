CREATE FUNCTION piwheels.load_rewrites_pending()
RETURNS TABLE (package text, added_at timestamptz, command text) LANGUAGE sql STABLE AS $$
    SELECT package, added_at, command FROM rewrites_pending ORDER BY added_at, package;
$$;
