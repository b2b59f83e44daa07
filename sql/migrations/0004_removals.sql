-- Logs of builds that are gone: their files are to vanish from the site. A build's number is never used again.
CREATE TABLE build_logs_gone (
    build_id     BIGINT PRIMARY KEY
);

-- What is done is told by the number of the note that was read before, not by clocks, which may disagree.
CREATE SEQUENCE rewrite_notes;
ALTER TABLE rewrites_pending
    DROP COLUMN asked_at,
    ADD COLUMN note BIGINT NOT NULL DEFAULT nextval('rewrite_notes');
