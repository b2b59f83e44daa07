-- Downloads by package, for the list of packages. They are counted as log entries arrive, so that no query has to sum up
-- downloads_daily, their source. _refresh_derived fills the tables during this upgrade.

-- Downloads of known files: one row for each package.
CREATE TABLE downloads_ever (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY,
    downloads    BIGINT NOT NULL
) WITH (fillfactor = 80);

-- The same for each package and day (UTC) of the last 30 days.
CREATE TABLE downloads_recent (
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    day          DATE NOT NULL,
    downloads    BIGINT NOT NULL,
    PRIMARY KEY (package, day)
) WITH (fillfactor = 80);
CREATE INDEX downloads_recent_day ON downloads_recent (day);
