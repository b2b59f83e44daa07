-- Deleted builds whose logs must be removed from the site. The number of a build is never used again.
CREATE TABLE build_logs_gone (
    build_id     BIGINT PRIMARY KEY
);

-- A finished rewrite is identified by the number of its note, not by a time, because clocks may disagree.
CREATE SEQUENCE rewrite_notes;
ALTER TABLE rewrites_pending
    DROP COLUMN asked_at,
    ADD COLUMN note BIGINT NOT NULL DEFAULT nextval('rewrite_notes');
