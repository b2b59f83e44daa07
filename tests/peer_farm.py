"""A farm of the existing implementation (piwheels 0.23): its database and its site.

The tables have the names and columns of its documentation.
"""

import gzip
from contextlib import closing
from hashlib import sha256

import psycopg2

from piwheels.core.site import log_name
from wheels import zip_wheel

TABLES = """
CREATE TABLE configuration (
    id INTEGER PRIMARY KEY, version VARCHAR(16) NOT NULL, pypi_serial BIGINT);
CREATE TABLE packages (package VARCHAR(500) PRIMARY KEY, skip TEXT, description TEXT);
CREATE TABLE package_names (package VARCHAR(500), name VARCHAR(500) PRIMARY KEY, seen TIMESTAMP);
CREATE TABLE versions (
    package VARCHAR(500), version VARCHAR(500), released TIMESTAMP, skip TEXT, yanked BOOLEAN,
    PRIMARY KEY (package, version));
CREATE TABLE build_abis (abi_tag VARCHAR(100) PRIMARY KEY, skip TEXT);
CREATE TABLE builds (
    build_id SERIAL PRIMARY KEY, package VARCHAR(500), version VARCHAR(500), built_by INTEGER,
    built_at TIMESTAMP, duration INTERVAL, status BOOLEAN, abi_tag VARCHAR(100));
CREATE TABLE files (
    filename VARCHAR(500) PRIMARY KEY, build_id INTEGER, filesize BIGINT, filehash CHAR(64),
    package_tag TEXT, package_version_tag TEXT, py_version_tag TEXT, abi_tag TEXT,
    platform_tag TEXT, requires_python TEXT, location TEXT);
CREATE TABLE dependencies (
    filename VARCHAR(500), tool VARCHAR(10), dependency TEXT,
    PRIMARY KEY (filename, tool, dependency));
CREATE TABLE downloads (
    filename VARCHAR(500), accessed_by INET, accessed_at TIMESTAMP, arch TEXT, distro_name TEXT,
    distro_version TEXT, os_name TEXT, os_version TEXT, py_name TEXT, py_version TEXT,
    installer_name TEXT, installer_version TEXT, setuptools_version TEXT);
CREATE INDEX downloads_accessed_at ON downloads (accessed_at DESC);
CREATE TABLE searches (LIKE downloads);
ALTER TABLE searches RENAME filename TO package;
CREATE TABLE project_page_hits (
    package VARCHAR(500), accessed_by INET, accessed_at TIMESTAMP, user_agent TEXT);
CREATE TABLE project_json_downloads (LIKE project_page_hits);
CREATE TABLE web_page_hits (LIKE project_page_hits);
ALTER TABLE web_page_hits RENAME package TO page;
CREATE TABLE rewrites_pending (package VARCHAR(500) PRIMARY KEY, added_at TIMESTAMP, command TEXT);
CREATE TABLE preinstalled_apt_packages (
    abi_tag VARCHAR(100), apt_package TEXT, PRIMARY KEY (abi_tag, apt_package));
INSERT INTO configuration VALUES (1, '0.23', 12345678);
"""

#: Ordinary rows, and those that our tables do not accept as they are.
ROWS = {
    "packages": [
        ("spam", None, "A can of spam"),
        ("Foo.Bar", "", "two lines\nof text\twith \\ and \x07"),
        ("foo-bar", "", ""),
        ("Cheese_Shop", None, ""),
        ("dull", "no wheels needed", ""),
        ("empty", "", ""),
        ("gone", "deleted", ""),
        ("bad name!", "", ""),
        ("x" * 201, "", ""),
    ],
    "package_names": [
        ("spam", "Spam", "2024-01-01 10:00"),
        ("spam", "foo_bar", "2024-01-01"),
        ("Cheese_Shop", "cheese.shop", None),
        ("bad name!", "bad", None),
    ],
    "versions": [
        ("spam", "1.0", "2024-01-01 10:00", "", False),
        ("spam", "1.0.0", "2024-01-02", "", False),
        ("spam", "2.0", "2024-02-01", None, True),
        ("spam", "3.0", "infinity", "", False),
        ("spam", "4.0", "2024-03-01", "", False),
        ("spam", "5.0", "2024-03-01", "", False),
        ("spam", "banana", "2024-01-01", "", False),
        ("spam", "0.1", "2024-01-01", "deleted", False),
        ("spam", "1." + "0" * 300, "2024-01-01", "", False),
        ("Foo.Bar", "1.0", "2024-01-01", "", False),
        ("foo-bar", "1.0", "2024-01-01", "", False),
        ("Cheese_Shop", "0.5", "2024-01-01", "no cheese", False),
        ("Cheese_Shop", "1.0", "2024-01-01", "", None),
        ("dull", "1.0", None, "", False),
        ("gone", "1.0", "2024-01-01", "", False),
        ("nowhere", "1.0", "2024-01-01", "", False),
    ],
    "build_abis": [("cp39", "too old"), ("cp311", ""), ("none", "")],
    "builds": [
        (1, "spam", "1.0.0", 1, "2024-01-03 10:00", "00:01:00", True, "cp311"),
        (2, "spam", "1.0", 2, "2024-01-03", "00:00:10", False, "cp39"),
        (3, "spam", "2.0", 2, "2024-02-03", "00:02:00", True, "cp311"),
        (4, "spam", "3.0", 2, "2024-02-03", "-00:02:00", False, "cp34m"),
        (5, "spam", "banana", 2, "2024-02-03", "00:02:00", False, "cp311"),
        (6, "Foo.Bar", "1.0", 2, "2024-02-03", "00:02:00", True, "cp311"),
        (7, "Cheese_Shop", "1.0", 2, "2024-02-03", None, True, "cp311"),
        (8, "gone", "1.0", 2, "2024-02-03", "00:02:00", True, "cp311"),
        (9, "spam", "4.0", 2, None, "00:02:00", True, "cp311"),
        (10, "spam", "5.0", 2, "2024-02-03", "00:02:00", True, "cp311"),
        (4_000_000, "dull", "1.0", 2, "2024-02-03", "00:02:00", True, "cp311"),
    ],
    "preinstalled_apt_packages": [("cp311", "libc6"), ("cp312", "libc6")],
    "rewrites_pending": [("spam", "2024-01-01", "BOTH")],
}  # fmt: skip

#: The wheels on the site: the folder, the build, what else is true of it.
WHEELS = {
    "spam-1.0.0-cp311-cp311-linux_armv7l.whl": ("spam", 1),
    "spam-1.0.0-cp311-cp311-linux_armv6l.whl": ("spam", 1),
    "spam-2.0-py3-none-any.whl": ("spam", 3),
    "Foo.Bar-1.0-py3-none-any.whl": ("Foo.Bar", 6),
    "cheese_shop-1.0-cp39-abi3-manylinux_2_17_aarch64.whl": ("cheese-shop", 7),
    "gone-1.0-py3-none-any.whl": ("gone", 8),
    "dull-1.0-py3-none-any.whl": ("dull", 4_000_000),
}
GOOD = set(WHEELS) - {"gone-1.0-py3-none-any.whl"}
HASH = "0123456789abcdef" * 4
#: Files of the database that cannot be imported, and why: the build, the hash, the size.
BAD_FILES = {
    "failed-1.0-py3-none-any.whl": (2, HASH, 10),  # another name, and the build has failed
    "spam-1.0-py3-none-any.whl": (2, HASH, 10),  # the build has failed
    "spam-9.0-py3-none-any.whl": (3, HASH, 10),  # another version
    "eggs-2.0-py3-none-any.whl": (3, HASH, 10),  # another project
    "spam-2.0-cp311-cp311-linux_armv7l.whl": (3, "0123", 10),
    "spam-2.0-cp311-none-any.whl": (3, HASH, -1),
    "spam-2.0.tar.gz": (3, HASH, 10),
    "spam-2.0-py2-none-any.whl": (999, HASH, 10),
    "spam-4.0-py3-none-any.whl": (9, HASH, 10),  # the site does not have it
    "spam-5.0-py3-none-any.whl": (10, HASH, 6),  # it is no archive
}
DEPENDENCIES = [
    ("spam-1.0.0-cp311-cp311-linux_armv7l.whl", "apt", "libspam1"),
    ("spam-1.0.0-cp311-cp311-linux_armv7l.whl", "pip", "eggs"),
    ("spam-1.0.0-cp311-cp311-linux_armv7l.whl", "brew", "spam"),
    ("spam-9.0-py3-none-any.whl", "apt", "libspam9"),
]
DOWNLOADS = [
    ("spam-2.0-py3-none-any.whl", "192.0.2.1", "2024-01-31 23:59:59", "armv7l"),
    ("spam-2.0-py3-none-any.whl", "2001:db8::1", "2024-02-01 00:00:00", "armv7l"),
    ("spam-2.0-py3-none-any.whl", None, "2024-02-01 00:00:01", "arm\nv7l"),
    ("Foo.Bar-1.0-py3-none-any.whl", "192.0.2.1", "now", None),
    ("unknown.whl", "192.0.2.1", "2024-02-01 00:00:00", "a" * 500),
    ("spam-2.0-py3-none-any.whl", "192.0.2.1", None, None),
    ("spam-2.0-py3-none-any.whl", "192.0.2.1", "infinity", None),
]


def wheel(filename):
    """Return the bytes of the wheel *filename*, and its METADATA."""
    name, version, *tags = filename.removesuffix(".whl").split("-")
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: of {name}\n"
    about = {f"{info}/METADATA": metadata, f"{info}/WHEEL": "Wheel-Version: 1.0\n"}
    return zip_wheel({f"{name}.py": f"tags = {tags}\n", **about}, info), metadata.encode()


def fill(dsn, site=None):
    """Make the tables and rows in the empty database *dsn*, and the *site*."""
    files = []
    for filename, (_, build_id) in WHEELS.items():
        data, _ = wheel(filename)
        digest = sha256(data).hexdigest()
        shown = digest.upper() if build_id == 7 else digest  # in either case
        parts = filename.removesuffix(".whl").split("-")
        files.append((filename, build_id, len(data), shown, *parts, ">=3.9", "/simple"))
    for filename, (build_id, digest, size) in BAD_FILES.items():
        files.append((filename, build_id, size, digest, *[""] * 5, None, None))
    hit = ("spam", "192.0.2.1", "2024-02-01", None)
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
        rows = {
            **ROWS, "files": files, "dependencies": DEPENDENCIES, "downloads": DOWNLOADS,
            "searches": DOWNLOADS[:1], "project_page_hits": [hit],
            "project_json_downloads": [hit], "web_page_hits": [hit],
        }  # fmt: skip
        for table, values in rows.items():
            for row in values:
                places = ", ".join(["%s"] * len(row))
                cursor.execute(f"INSERT INTO {table} VALUES ({places})", row)  # noqa: S608
    if site is not None:
        furnish(site)


def furnish(site):
    """Make the *site*: wheels, pages, logs, aliases, and what an operator has left there."""
    for filename, (package, _) in WHEELS.items():
        folder = site / "simple" / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / filename).write_bytes(wheel(filename)[0])
        (folder / "index.html").write_text("<a>old</a>")
    (site / "simple/spam/spam-5.0-py3-none-any.whl").write_bytes(b"broken")
    (site / "simple/spam/notes.txt").write_text("mine")
    (site / "simple/spam/spam-2.0-py3-none-any.whl.metadata").write_text("wrong")
    (site / "simple/spam/spam-2.0-py3-none-any.whl").chmod(0o600)
    (site / "simple/dull").chmod(0o700)
    (site / "simple/Spam").symlink_to("spam")
    (site / "simple/foo-bar").symlink_to("Foo.Bar")
    (site / "simple/index.html").write_text("old")
    for package in ("spam", "gone"):
        page = site / "project" / package
        (page / "json").mkdir(parents=True)
        (page / "index.html").write_text("old")
        (page / "json/index.json").write_text("{}")
        (page / "old.css").touch()
    (site / "project/Spam").symlink_to("spam")
    (site / "project/Gone").symlink_to("gone")
    (site / "index.html").write_text("old")
    (site / "fonts").mkdir()
    for build_id in (1, 2, 3, 5, 8, 10, 4_000_000):
        path = site / log_name(build_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"built it\n"))
    (site / log_name(3)).write_bytes(b"")


def enlarge(dsn, *, versions, builds, files, downloads):
    """Fill the empty database *dsn* with as many ordinary rows."""
    packages = max(1, versions // 8)
    query = f"""
        INSERT INTO packages SELECT 'project-' || n, '', 'A project'
            FROM generate_series(1, {packages}) n;
        INSERT INTO package_names SELECT package, replace(package, '-', '_'), '2024-01-01'
            FROM packages;
        INSERT INTO build_abis SELECT 'cp3' || n, '' FROM generate_series(9, 13) n;
        INSERT INTO versions SELECT 'project-' || (n % {packages} + 1), n / {packages} || '.0',
            '2016-01-01'::timestamp + n * interval '10 minutes', '', false
            FROM generate_series(0, {versions} - 1) n;
        INSERT INTO builds SELECT n + 1, 'project-' || (n % {packages} + 1),
            n % {versions} / {packages} || '.0', n % 50,
            '2016-01-01'::timestamp + n * interval '2 minutes', '00:01:00', n % 5 > 0,
            'cp3' || (9 + n / {versions} % 5) FROM generate_series(0, {builds} - 1) n;
        INSERT INTO files SELECT replace(package, '-', '_') || '-' || version || '-cp3'
            || right(abi_tag, -3) || '-' || abi_tag || '-linux_' || machine || '.whl', build_id,
            100000, repeat('0123456789abcdef', 4), replace(package, '-', '_'), version,
            abi_tag, abi_tag, 'linux_' || machine, '>=3.9', '/simple'
            FROM builds, unnest(ARRAY['armv7l', 'armv6l']) AS machine WHERE status LIMIT {files};
        INSERT INTO dependencies SELECT filename, 'apt', 'libc6' FROM files;
        INSERT INTO downloads
            SELECT 'project_' || 1 + floor({packages} * random() ^ 6)
            || '-0.0-cp39-cp39-linux_armv7l.whl',
            '192.0.2.1', now() - n * interval '30 seconds', 'armv7l', 'Raspbian', '12', 'Linux',
            '6.1', 'CPython', '3.11.2', 'pip', '23.0.1', '66.1.1'
            FROM generate_series(1, {downloads}) n;
    """  # noqa: S608
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
        cursor.execute(query)
