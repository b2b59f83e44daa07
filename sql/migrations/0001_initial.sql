-- The tables. Their widths match piwheels/core/database/connection.py. Names and tags compare byte by byte (COLLATE "C"),
-- so that sort order is the same on every machine. README.md explains where functions and views are.

CREATE TABLE configuration (
    only_row     BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
    version      TEXT NOT NULL,
    pypi_serial  BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE packages (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY CHECK (package <> ''),
    skip         VARCHAR(8192) NOT NULL DEFAULT '',
    description  VARCHAR(8192) NOT NULL DEFAULT '',
    status       TEXT NOT NULL DEFAULT 'active'
                 CHECK (status IN ('active', 'archived', 'quarantined', 'deprecated'))
);

CREATE TABLE package_names (
    name         VARCHAR(200) COLLATE "C" PRIMARY KEY,
    package      VARCHAR(200) COLLATE "C" NOT NULL REFERENCES packages ON DELETE CASCADE,
    seen         TIMESTAMPTZ NOT NULL
);
CREATE INDEX package_names_package ON package_names (package);

CREATE TABLE versions (
    package      VARCHAR(200) COLLATE "C" NOT NULL REFERENCES packages ON DELETE CASCADE,
    version      VARCHAR(200) COLLATE "C" NOT NULL CHECK (version <> ''),
    released     TIMESTAMPTZ NOT NULL DEFAULT now(),
    skip         VARCHAR(8192) NOT NULL DEFAULT '',
    yanked       BOOLEAN NOT NULL DEFAULT false,
    yank_reason  VARCHAR(8192) NOT NULL DEFAULT '',
    PRIMARY KEY (package, version)
);
CREATE INDEX versions_released ON versions (released);

-- ABIs are sorted by (position, abi_tag). The position follows from the tag, unless an operator sets another one.
CREATE TABLE build_abis (
    abi_tag        VARCHAR(200) COLLATE "C" PRIMARY KEY CHECK (abi_tag NOT IN ('', 'none', 'abi3')),
    position       INTEGER NOT NULL,
    skip           VARCHAR(8192) NOT NULL DEFAULT '',
    free_threaded  BOOLEAN NOT NULL
                   GENERATED ALWAYS AS (abi_tag ~ '^cp[0-9]{2,5}[a-z]*t[a-z]*$') STORED
);

CREATE TABLE builds (
    build_id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    version      VARCHAR(200) COLLATE "C" NOT NULL,
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL REFERENCES build_abis,
    status       BOOLEAN NOT NULL,
    built_by     BIGINT NOT NULL DEFAULT 0,
    label        VARCHAR(200) NOT NULL DEFAULT '',
    built_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    duration     INTERVAL NOT NULL DEFAULT '0',
    FOREIGN KEY (package, version) REFERENCES versions ON DELETE CASCADE
);
CREATE INDEX builds_version ON builds (package, version, abi_tag);
CREATE INDEX builds_built_at ON builds (built_at);

CREATE TABLE files (
    filename             VARCHAR(255) COLLATE "C" PRIMARY KEY CHECK (filename <> ''),
    build_id             BIGINT NOT NULL REFERENCES builds ON DELETE CASCADE,
    filesize             BIGINT NOT NULL CHECK (filesize >= 0),
    filehash             VARCHAR(64) NOT NULL CHECK (filehash ~ '^[0-9a-f]{64}$'),
    package_tag          VARCHAR(200) NOT NULL,
    package_version_tag  VARCHAR(200) NOT NULL,
    py_version_tag       VARCHAR(200) NOT NULL,
    abi_tag              VARCHAR(200) COLLATE "C" NOT NULL,
    platform_tag         VARCHAR(8192) NOT NULL,
    requires_python      VARCHAR(8192),
    location             VARCHAR(8192) NOT NULL DEFAULT '/simple',
    metadata_hash        VARCHAR(64) CHECK (metadata_hash ~ '^[0-9a-f]{64}$'),
    published_at         TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX files_build ON files (build_id);

CREATE TABLE dependencies (
    filename     VARCHAR(255) COLLATE "C" NOT NULL REFERENCES files ON DELETE CASCADE,
    tool         TEXT COLLATE "C" NOT NULL CHECK (tool IN ('apt', 'pip', '')),
    dependency   VARCHAR(200) COLLATE "C" NOT NULL,
    PRIMARY KEY (filename, tool, dependency)
);

CREATE TABLE preinstalled_apt_packages (
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL REFERENCES build_abis ON DELETE CASCADE,
    apt_package  VARCHAR(200) COLLATE "C" NOT NULL,
    PRIMARY KEY (abi_tag, apt_package)
);

-- Unfinished work, which must survive a crash of the master. -----------------------------------------------

-- Logs that are not yet in a file.
CREATE TABLE build_logs_pending (
    build_id     BIGINT PRIMARY KEY REFERENCES builds ON DELETE CASCADE,
    output       TEXT NOT NULL
);

-- Pages to write. A deleted package may be in this table too: its pages must be removed.
CREATE TABLE rewrites_pending (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY,
    added_at     TIMESTAMPTZ NOT NULL,  -- the first request
    asked_at     TIMESTAMPTZ NOT NULL,  -- the last request
    command      TEXT COLLATE "C" NOT NULL CHECK (command IN ('PROJECT', 'BOTH'))
);

CREATE TABLE leases (
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    version      VARCHAR(200) COLLATE "C" NOT NULL,
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL,
    label        VARCHAR(200) NOT NULL,
    since        TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (package, version, abi_tag),
    FOREIGN KEY (package, version) REFERENCES versions ON DELETE CASCADE
);

-- Derived data, so that no query reads whole tables. Triggers keep it current (see README.md). ---------------

CREATE TABLE build_queue (
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    version      VARCHAR(200) COLLATE "C" NOT NULL,
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL,
    released     TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (package, version)
);
CREATE INDEX build_queue_order ON build_queue (abi_tag, released, package, version);

-- Packages that have files.
CREATE TABLE published (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY
);

-- Sums, stored as changes that are merged from time to time, so that transactions never block each other.
CREATE TABLE counters (
    counter      TEXT COLLATE "C" NOT NULL,
    key          TEXT COLLATE "C" NOT NULL DEFAULT '',
    value        NUMERIC NOT NULL
);
CREATE INDEX counters_key ON counters (counter, key);

-- The access log. It has no foreign keys, so that no row can be rejected. -----------------------------------

CREATE TABLE downloads (
    filename            VARCHAR(255) COLLATE "C" NOT NULL,
    accessed_by         VARCHAR(200) NOT NULL,
    accessed_at         TIMESTAMPTZ NOT NULL,
    arch                VARCHAR(200),
    distro_name         VARCHAR(200),
    distro_version      VARCHAR(200),
    os_name             VARCHAR(200),
    os_version          VARCHAR(200),
    py_name             VARCHAR(200),
    py_version          VARCHAR(200),
    installer_name      VARCHAR(200),
    installer_version   VARCHAR(200),
    setuptools_version  VARCHAR(200)
) PARTITION BY RANGE (accessed_at);
CREATE INDEX downloads_accessed_at ON downloads (accessed_at);
CREATE TABLE downloads_default PARTITION OF downloads DEFAULT;

-- Downloads of known files: one row for each day (UTC) and file.
CREATE TABLE downloads_daily (
    day          DATE NOT NULL,
    filename     VARCHAR(255) COLLATE "C" NOT NULL,
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    downloads    BIGINT NOT NULL,
    PRIMARY KEY (day, filename)
);

CREATE TABLE metadata_downloads (LIKE downloads);
CREATE INDEX metadata_downloads_accessed_at ON metadata_downloads (accessed_at);

CREATE TABLE searches (LIKE downloads);
ALTER TABLE searches RENAME COLUMN filename TO package;
CREATE INDEX searches_accessed_at ON searches (accessed_at);

CREATE TABLE project_page_hits (
    package      VARCHAR(255) COLLATE "C" NOT NULL,
    accessed_by  VARCHAR(200) NOT NULL,
    accessed_at  TIMESTAMPTZ NOT NULL,
    user_agent   VARCHAR(8192) NOT NULL
);
CREATE INDEX project_page_hits_accessed_at ON project_page_hits (accessed_at);

CREATE TABLE project_json_downloads (LIKE project_page_hits);
CREATE INDEX project_json_downloads_accessed_at ON project_json_downloads (accessed_at);

CREATE TABLE web_page_hits (LIKE project_page_hits);
ALTER TABLE web_page_hits RENAME COLUMN package TO page;
CREATE INDEX web_page_hits_accessed_at ON web_page_hits (accessed_at);
