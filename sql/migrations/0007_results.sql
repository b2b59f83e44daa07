-- The tags that installers for each ABI accept. The trigger on the table fills the column, and _refresh_derived after each
-- upgrade.
ALTER TABLE build_abis DROP COLUMN free_threaded;
ALTER TABLE build_abis ADD COLUMN accepted TEXT[] NOT NULL DEFAULT '{}';

-- Names of removed files. A name never gets other bytes, because caches keep a wheel for a year. No foreign keys: these rows
-- stay for ever.
CREATE TABLE retired_files (
    filename     VARCHAR(255) COLLATE "C" PRIMARY KEY,
    filehash     VARCHAR(64) NOT NULL,
    package      VARCHAR(200) COLLATE "C" NOT NULL
);
CREATE INDEX retired_files_package ON retired_files (package);

ALTER TABLE versions
    -- Upstream's wheels of this version: 'pure' if one is for any machine, 'native' if all are not, '' if none is known.
    ADD COLUMN upstream_wheels TEXT NOT NULL DEFAULT '' CHECK (upstream_wheels IN ('', 'native', 'pure'));

ALTER TABLE watched
    -- Of this project, only the versions that the farm has are followed.
    ADD COLUMN pinned BOOLEAN NOT NULL DEFAULT false,
    -- Whether the index has been asked for it, with whatever result.
    ADD COLUMN polled BOOLEAN NOT NULL DEFAULT false,
    DROP CONSTRAINT watched_check,
    ADD CHECK (asked OR listed OR pinned);
INSERT INTO watched (package, pinned)
    SELECT package, true FROM packages, configuration WHERE pypi_serial = 0  -- the whole index is not followed
    ON CONFLICT (package) DO UPDATE SET pinned = true;
