-- Keeps names and hashes of removed files, so that no name ever gets other bytes. The third array has their packages, in any
-- spelling.
CREATE FUNCTION piwheels._retire_files(the_names text[], the_hashes text[], the_packages text[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO retired_files (filename, filehash, package)
        SELECT k.filename, k.filehash, _canonical_name(k.package)
        FROM unnest(the_names, the_hashes, the_packages) AS k (filename, filehash, package)
        ORDER BY k.filename ON CONFLICT DO NOTHING;
$$;
