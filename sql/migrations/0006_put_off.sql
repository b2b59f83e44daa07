-- Failed builds that were put off instead of counted, because their slave seems to be at fault. Each is one attempt.
CREATE TABLE builds_put_off (
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    version      VARCHAR(200) COLLATE "C" NOT NULL,
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL,
    label        VARCHAR(200) NOT NULL,
    put_off_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    reason       VARCHAR(8192) NOT NULL,
    output       TEXT NOT NULL,  -- the end of the log
    FOREIGN KEY (package, version) REFERENCES versions ON DELETE CASCADE
);
CREATE INDEX builds_put_off_version ON builds_put_off (package, version, abi_tag);
CREATE INDEX builds_put_off_at ON builds_put_off (put_off_at);
