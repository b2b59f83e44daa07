-- Following the upstream index: its statements about versions, and the watched projects.

ALTER TABLE versions
    -- Its known source distributions in the upstream index. Without any, it cannot be built.
    ADD COLUMN sources VARCHAR(255)[] NOT NULL DEFAULT '{}',
    -- Withheld upstream: its files are not in the index, and it is not built.
    ADD COLUMN quarantined BOOLEAN NOT NULL DEFAULT false,
    -- Yanked upstream, and not (only) by an operator.
    ADD COLUMN yanked_upstream BOOLEAN NOT NULL DEFAULT false;

-- Rows marked as deleted leave the site first, then the database. They are few, and queried often.
CREATE INDEX versions_deleted ON versions (package, version) WHERE skip = 'deleted';
CREATE INDEX packages_deleted ON packages (package) WHERE skip = 'deleted';
CREATE INDEX versions_quarantined ON versions (package) WHERE quarantined;

-- The projects that --source watch follows. No foreign key to packages, where a project may be missing.
CREATE TABLE watched (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY CHECK (package <> ''),
    asked        BOOLEAN NOT NULL DEFAULT false,  -- by an operator or piw-up
    listed       BOOLEAN NOT NULL DEFAULT false,  -- in the file of names
    found        BOOLEAN NOT NULL DEFAULT false,  -- it exists (or existed) upstream
    -- The newest version with sources seen upstream, and the time of the latest upload.
    newest       VARCHAR(200) NOT NULL DEFAULT '',
    latest       TIMESTAMPTZ,
    -- The serial and the HTTP validators of the last document that was processed.
    serial       BIGINT NOT NULL DEFAULT 0,
    etag         VARCHAR(8192) NOT NULL DEFAULT '',
    modified     VARCHAR(200) NOT NULL DEFAULT '',
    CHECK (asked OR listed)
);
