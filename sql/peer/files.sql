-- Files, with the parts of their names. why: the reason for leaving one out. (A pattern with {64} takes ten times as long.)
CREATE TABLE peer.known_files AS
SELECT DISTINCT ON (f.filename) f.*, lower(f.filehash) AS sha256, b.package AS owner, b.built_at, CASE
    WHEN f.package IS NULL THEN 'it is not the name of a wheel'
    WHEN b.build_id IS NULL THEN format('build %s is not here', f.build_id)
    WHEN NOT b.status THEN format('build %s failed', f.build_id)
    WHEN f.package <> b.package THEN format('build %s is of another project, %s', f.build_id, b.package)
    WHEN f.key <> b.key THEN format('build %s is of another version, %s', f.build_id, b.version)
    WHEN (length(f.filehash) = 64 AND lower(f.filehash) ~ '^[0-9a-f]+$') IS NOT TRUE THEN 'it has no SHA-256'
    WHEN (f.filesize >= 0) IS NOT TRUE THEN 'it has no size' END AS why
FROM peer.files f LEFT JOIN peer.known_builds b USING (build_id)
ORDER BY f.filename;
ANALYZE peer.known_files;

INSERT INTO files (
    filename, build_id, filesize, filehash, package_tag, package_version_tag, py_version_tag, abi_tag, platform_tag,
    requires_python, published_at
)
SELECT filename, build_id, filesize, sha256, package_tag, package_version_tag, py_version_tag, abi_tag, platform_tag,
    requires_python, coalesce(built_at, now())
FROM peer.known_files WHERE why IS NULL ORDER BY filename COLLATE "C";

INSERT INTO peer.left_out (kind, what, why) SELECT 'files', filename, why FROM peer.known_files WHERE why IS NOT NULL;

-- Caches know the bytes of a published name.
INSERT INTO retired_files (filename, filehash, package)
SELECT filename, sha256, package FROM peer.known_files
WHERE why IS NOT NULL AND package IS NOT NULL AND length(sha256) = 64 AND sha256 ~ '^[0-9a-f]+$' ON CONFLICT DO NOTHING;
