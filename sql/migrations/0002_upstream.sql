-- Following the upstream index: what it has said of our versions, and the projects that are watched.

ALTER TABLE versions
    -- Its source distributions there, as far as we were told; with none that is left, nothing can be built.
    ADD COLUMN sources VARCHAR(255)[] NOT NULL DEFAULT '{}',
    -- Withheld for the time being: its files leave the index, and it is not built.
    ADD COLUMN quarantined BOOLEAN NOT NULL DEFAULT false,
    -- Upstream has yanked it, and not (only) an operator of ours.
    ADD COLUMN yanked_upstream BOOLEAN NOT NULL DEFAULT false;

-- What is marked as deleted goes from the site, and then from here: few rows, and asked for often.
CREATE INDEX versions_deleted ON versions (package, version) WHERE skip = 'deleted';
CREATE INDEX packages_deleted ON packages (package) WHERE skip = 'deleted';
CREATE INDEX versions_quarantined ON versions (package) WHERE quarantined;

-- The projects that --source watch follows. No reference to packages: one may not be there yet, or not any more.
CREATE TABLE watched (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY CHECK (package <> ''),
    asked        BOOLEAN NOT NULL DEFAULT false,  -- by an operator or piw-up
    listed       BOOLEAN NOT NULL DEFAULT false,  -- in the file of names
    found        BOOLEAN NOT NULL DEFAULT false,  -- upstream has (or had) it
    -- The newest version with sources that we have seen there, and when the latest was uploaded.
    newest       VARCHAR(200) NOT NULL DEFAULT '',
    latest       TIMESTAMPTZ,
    -- What upstream said of the newest document that we have taken in: its serial, and its validators.
    serial       BIGINT NOT NULL DEFAULT 0,
    etag         VARCHAR(8192) NOT NULL DEFAULT '',
    modified     VARCHAR(200) NOT NULL DEFAULT '',
    CHECK (asked OR listed)
);
