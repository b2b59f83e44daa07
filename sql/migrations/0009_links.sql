-- The projects that the newest wheel of a project requires. Its page links to those that have a page.
ALTER TABLE packages ADD COLUMN needs TEXT[] COLLATE "C" NOT NULL DEFAULT '{}';
CREATE INDEX packages_needs ON packages USING gin (needs);

-- Project pages with links to projects that have got their page since, or have lost it. No foreign key, so that no lock is needed.
CREATE TABLE links_pending (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY
);
