-- What the list of packages shows of downloads, kept as rows of the log arrive: nobody sums downloads_daily up, which
-- all of it is made from (_refresh_kept fills them at this upgrade).

-- Downloads of known files, a package a row.
CREATE TABLE downloads_ever (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY,
    downloads    BIGINT NOT NULL
) WITH (fillfactor = 80);

-- The same a package and a day (UTC) a row, of the last 30 days.
CREATE TABLE downloads_recent (
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    day          DATE NOT NULL,
    downloads    BIGINT NOT NULL,
    PRIMARY KEY (package, day)
) WITH (fillfactor = 80);
CREATE INDEX downloads_recent_day ON downloads_recent (day);
