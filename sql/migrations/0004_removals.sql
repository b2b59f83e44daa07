-- Logs of builds that are gone: their files are to vanish from the site. A build's number is never used again.
CREATE TABLE build_logs_gone (
    build_id     BIGINT PRIMARY KEY
);
