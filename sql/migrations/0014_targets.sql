-- Targets: a platform family with an ABI. build_abis keeps what is true of an ABI on all platforms.
-- With the platform 'any', wheels for any one platform serve a target. System: the release whose libraries its wheels use.
CREATE TABLE targets (
    platform     VARCHAR(200) COLLATE "C" NOT NULL CHECK (platform <> ''),
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL REFERENCES build_abis ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    skip         VARCHAR(8192) NOT NULL DEFAULT '',
    system       VARCHAR(200) NOT NULL DEFAULT '',
    since        TIMESTAMPTZ NOT NULL DEFAULT now(),
    accepted     TEXT[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (platform, abi_tag),
    CHECK (abi_tag <> 'any')
);
ALTER TABLE build_abis DROP COLUMN accepted;

-- The platform family of the slave; '': unknown, it counts for all platforms.
ALTER TABLE builds ADD COLUMN platform VARCHAR(200) COLLATE "C" NOT NULL DEFAULT '';
CREATE TEMPORARY TABLE found ON COMMIT DROP AS
    SELECT f.build_id, min(k.family) AS family
    FROM (SELECT DISTINCT platform_tag FROM files) AS t
    CROSS JOIN LATERAL (
        SELECT regexp_replace(regexp_replace(regexp_replace(
            lower(each), '^(?:many(linux)(?:1|2010|2014|_[0-9]+_[0-9]+)|(musllinux)_[0-9]+_[0-9]+)_([a-z0-9_]+)$', '\1\2_\3'
        ), '^([^_]*)_armv8l$', '\1_armv7l'), '^([^_]*)_i[345]86$', '\1_i686') AS family
        FROM unnest(string_to_array(t.platform_tag, '.')) AS each
        WHERE lower(each) <> 'any'
    ) AS k
    JOIN files f USING (platform_tag)
    GROUP BY f.build_id;
UPDATE builds b SET platform = found.family FROM found WHERE found.build_id = b.build_id;

-- The targets of each ABI: the platforms of its wheels; else those of all wheels; else any.
INSERT INTO targets (platform, abi_tag, position)
    SELECT k.platform, a.abi_tag, a.position
    FROM build_abis a
    CROSS JOIN LATERAL (
        SELECT DISTINCT platform FROM builds b WHERE b.abi_tag = a.abi_tag AND b.platform <> ''
        UNION
        SELECT DISTINCT platform FROM builds b WHERE b.platform <> ''
            AND NOT EXISTS (SELECT FROM builds c WHERE c.abi_tag = a.abi_tag AND c.platform <> '')
        UNION
        SELECT 'any' WHERE NOT EXISTS (SELECT FROM builds WHERE platform <> '')
    ) AS k;

-- What the order of the queue depends on (_due). Popularity: the decimal digits of the downloads in 30 days.
ALTER TABLE versions
    ADD COLUMN added TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN urgency TEXT NOT NULL DEFAULT '' CHECK (urgency IN ('', 'security', 'first'));
ALTER TABLE packages
    ADD COLUMN popularity SMALLINT NOT NULL DEFAULT 0 CHECK (popularity BETWEEN 0 AND 19);

-- The rows of the view builds_pending. Exclusive: what is built for one target at a time only: the version, or the version on
-- a platform, or ''. Due: the place in the order, in seconds since 1970.
DROP TABLE build_queue;
CREATE TABLE build_queue (
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    version      VARCHAR(200) COLLATE "C" NOT NULL,
    platform     VARCHAR(200) COLLATE "C" NOT NULL,
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL,
    exclusive    TEXT COLLATE "C" NOT NULL CHECK (exclusive IN ('', 'version', 'platform')),
    due          BIGINT NOT NULL,
    failed_by    VARCHAR(200) COLLATE "C",
    failed_at    TIMESTAMPTZ,
    PRIMARY KEY (package, version, platform, abi_tag),
    CHECK ((failed_by IS NULL) = (failed_at IS NULL))
);
CREATE INDEX build_queue_order ON build_queue (platform, abi_tag, due, package, version) WHERE failed_at IS NULL;
CREATE INDEX build_queue_again ON build_queue (platform, abi_tag, failed_at, package, version) WHERE failed_at IS NOT NULL;

ALTER TABLE leases ADD COLUMN platform VARCHAR(200) COLLATE "C" NOT NULL DEFAULT 'any';
ALTER TABLE leases DROP CONSTRAINT leases_pkey, ADD PRIMARY KEY (package, version, platform, abi_tag);
ALTER TABLE leases ALTER COLUMN platform DROP DEFAULT;

ALTER TABLE builds_put_off ADD COLUMN platform VARCHAR(200) COLLATE "C" NOT NULL DEFAULT '';
