-- A successful build all of whose files were left out is none: its version is built again.
CREATE TEMPORARY TABLE lost ON COMMIT DROP AS
SELECT DISTINCT b.build_id, b.package, b.version
FROM peer.left_out l
JOIN peer.known_files k ON k.filename = l.what
JOIN builds b ON b.build_id = k.build_id
WHERE l.kind = 'files' AND b.status AND NOT EXISTS (SELECT FROM files f WHERE f.build_id = b.build_id);

INSERT INTO peer.left_out (kind, what, why)
SELECT 'builds', build_id::text, format('none of its files is here: %s %s is built again', package, version) FROM pg_temp.lost;

DELETE FROM builds b USING pg_temp.lost l WHERE b.build_id = l.build_id;

DROP TABLE pg_temp.lost;
