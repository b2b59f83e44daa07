"""Each kind of damage causes exactly its own findings, and a repair resolves them."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from piwheels.audit.findings import KINDS, Remedy

NATIVE = "spam-1.0-cp311-cp311-linux_x86_64.whl"
PURE = "spam-2.0-py3-none-any.whl"
EGGS = "eggs-1.0-py3-none-any.whl"
WHEEL = f"simple/eggs/{EGGS}"
SPAM_1, SPAM_2 = f"simple/spam/{NATIVE}", f"simple/spam/{PURE}"
HELD = "simple/held/held-1.0-py3-none-any.whl"
LOG, LOG_2, LOG_3, LOG_4, LOG_5 = [f"logs/0000/0000/000{number}.txt.gz" for number in range(1, 6)]
TODAY = datetime.now(UTC).date()


def write(path, data=b"hello"):
    return lambda farm: (farm.site / path).write_bytes(data)


def remove(path):
    return lambda farm: (farm.site / path).unlink()


def link(path, target):
    def damage(farm):
        (farm.site / path).unlink(missing_ok=True)
        (farm.site / path).symlink_to(target)

    return damage


def folder(path):
    def damage(farm):
        (farm.site / path).unlink(missing_ok=True)
        (farm.site / path).mkdir()

    return damage


def mode(path, bits):
    return lambda farm: (farm.site / path).chmod(bits)


def cut(path, size=30):
    return lambda farm: os.truncate(farm.site / path, size)


def append(path):
    return lambda farm: (farm.site / path).write_bytes((farm.site / path).read_bytes() + b"{}")


def flip(path):
    """Change a byte, and not the size."""

    def damage(farm):
        data = bytearray((farm.site / path).read_bytes())
        data[len(data) // 2] ^= 1
        (farm.site / path).write_bytes(data)

    return damage


def replace(path, old, new):
    def damage(farm):
        data = (farm.site / path).read_bytes()
        assert old in data
        (farm.site / path).write_bytes(data.replace(old, new))

    return damage


def sql(statement, *, triggers=True):
    return lambda farm: farm.sql(statement, triggers=triggers)


def no_wheel(farm):
    data = b"this is not a wheel"
    (farm.site / WHEEL).write_bytes(data)
    digest = sha256(data).hexdigest()
    values = f"filesize = {len(data)}, filehash = '{digest}'"
    farm.sql(f"UPDATE files SET {values} WHERE starts_with(filename, 'eggs-')")  # noqa: S608


def pipe(path):
    def damage(farm):
        (farm.site / path).unlink(missing_ok=True)
        os.mkfifo(farm.site / path)

    return damage


def work_file(farm):
    (farm.work / "tmpabc123").write_bytes(b"half a wheel")


INDEX, ROOT = "simple/spam/index.v1_json", "simple/index.v1_json"
EGGS_INDEX, HELD_INDEX = "simple/eggs/index.v1_json", "simple/held/index.v1_json"
ROOTS = (ROOT, "simple/index.html")
BOTH = {("wrong-page", INDEX), ("wrong-page", "simple/spam/index.html")}

#: By name: the damage, its findings, and those that remain after a repair and a master's start.
CASES = {
    # Files
    "a wheel is gone": (remove(WHEEL), {("missing-file", WHEEL)}, set()),
    "a wheel is cut": (cut(SPAM_2), {("wrong-size", SPAM_2)}, set()),
    "a wheel has grown": (
        append(SPAM_1), {("wrong-size", SPAM_1)}, set()
    ),
    "a wheel is empty": (write(HELD, b""), {("wrong-size", HELD)}, set()),
    "a byte of a wheel has changed": (flip(SPAM_2), {("wrong-hash", SPAM_2)}, set()),
    "a file that is not a wheel": (no_wheel, {
        ("bad-wheel", WHEEL), ("wrong-page", "simple/eggs/index.v1_json"),
        ("wrong-page", "simple/eggs/index.html"), ("wrong-page", "project/eggs/json/index.json"),
    }, set()),
    "a wheel's metadata is gone": (
        remove(f"{SPAM_1}.metadata"), {("missing-metadata", f"{SPAM_1}.metadata")}, set()
    ),
    "a wheel's metadata is another": (
        write(f"{SPAM_2}.metadata"), {("wrong-metadata", f"{SPAM_2}.metadata")}, set()
    ),
    "a wheel's metadata is cut": (
        cut(f"{SPAM_1}.metadata"), {("wrong-metadata", f"{SPAM_1}.metadata")}, set()
    ),
    "the hash of a wheel's metadata is another": (
        sql("UPDATE files SET metadata_hash = repeat('ab', 32)"
            " WHERE starts_with(filename, 'eggs-')"),
        {("wrong-metadata", f"{WHEEL}.metadata"), ("wrong-page", "simple/eggs/index.v1_json"),
         ("wrong-page", "simple/eggs/index.html")},
        {("wrong-metadata", f"{WHEEL}.metadata")},
    ),
    "an unknown wheel": (
        write("simple/spam/spam-9.0-py3-none-any.whl"),
        {("foreign", "simple/spam/spam-9.0-py3-none-any.whl")}, set(),
    ),
    "an unknown file": (write("simple/spam/x"), {("foreign", "simple/spam/x")}, set()),
    "metadata without a wheel": (
        write("simple/spam/spam-9.0-py3-none-any.whl.metadata"),
        {("foreign", "simple/spam/spam-9.0-py3-none-any.whl.metadata")}, set(),
    ),
    "a name of any bytes": (
        write("simple/spam/\udcff\n\x1b[2J"),
        {("foreign", "simple/spam/\udcff\n\x1b[2J")}, set(),
    ),
    "a folder among the files": (folder("simple/spam/d"), {("foreign", "simple/spam/d")}, set()),
    "a folder for a wheel": (folder(HELD), {("not-a-file", HELD)}, {("missing-file", HELD)}),
    "a pipe for a wheel": (pipe(WHEEL), {("not-a-file", WHEEL)}, {("missing-file", WHEEL)}),
    "a link for a wheel": (
        link(WHEEL, "../spam/" + PURE), {("link", WHEEL)}, {("missing-file", WHEEL)}
    ),
    "a link out of the site": (
        link("simple/spam/passwd", "/etc/passwd"), {("link-outside", "simple/spam/passwd")}, set()
    ),
    "a wheel's link out of the site": (
        link(SPAM_1, "/etc/hostname"), {("link-outside", SPAM_1)}, {("missing-file", SPAM_1)}
    ),
    "a loop of links": (link("simple/loop", "loop"), {("foreign", "simple/loop")}, set()),
    "a wheel that nobody may read": (mode(SPAM_2, 0o600), {("mode", SPAM_2)}, set()),
    "a folder that nobody may enter": (
        mode("simple/spam", 0o700), {("mode", "simple/spam")}, set()
    ),
    "a page's folder that nobody may enter": (
        mode("project/spam", 0o700), {("mode", "project/spam")}, set()
    ),
    "a folder of no package": (
        folder("simple/nobody"), {("foreign", "simple/nobody")}, set()
    ),
    "a package under another spelling": (
        lambda farm: shutil.copytree(farm.site / "simple/spam", farm.site / "simple/Spam"),
        {("foreign", "simple/Spam")}, set(),
    ),
    "a file in the root": (write("shell.php"), {("foreign", "shell.php")}, set()),
    "a folder in the root": (folder("backup"), {("foreign", "backup")}, set()),
    "a file in the index": (write("simple/x.html"), {("foreign", "simple/x.html")}, set()),
    "half a file of a dead master": (
        work_file, {("leftover", "../.www.work/tmpabc123")}, set()
    ),
    "a file of a deleted package": (
        lambda farm: (folder("simple/gone")(farm), write("simple/gone/x.whl")(farm)),
        {("foreign", "simple/gone/x.whl")}, set(),
    ),
    # Logs
    "a log is gone": (remove(LOG), {("missing-log", LOG)}, {("missing-log", LOG)}),
    "a log is cut": (cut(LOG_2, 12), {("broken-log", LOG_2)}, {("broken-log", LOG_2)}),
    "a log is empty": (write(LOG_3, b""), {("broken-log", LOG_3)}, {("broken-log", LOG_3)}),
    "a log is no archive": (write(LOG_4), {("broken-log", LOG_4)}, {("broken-log", LOG_4)}),
    "a byte of a log has changed": (flip(LOG_5), {("broken-log", LOG_5)}, {("broken-log", LOG_5)}),
    "a log of no build": (
        write("logs/0000/0000/0999.txt.gz", gzip.compress(b"x")),
        {("foreign-log", "logs/0000/0000/0999.txt.gz")}, set(),
    ),
    "no log at all": (
        write("logs/0000/0000/core"), {("foreign", "logs/0000/0000/core")}, set()
    ),
    "a log at a wrong place": (
        write("logs/0001.txt.gz"), {("foreign", "logs/0001.txt.gz")}, set()
    ),
    # Pages
    "a compressed copy of a page differs": (
        write(f"{INDEX}.gz", gzip.compress(b"{}")), {("wrong-page", f"{INDEX}.gz")}, set()
    ),
    "a compressed copy is no archive": (
        write(f"{EGGS_INDEX}.gz"), {("wrong-page", f"{EGGS_INDEX}.gz")}, set()
    ),
    "a page of the index is gone": (remove(HELD_INDEX), {("missing-page", HELD_INDEX)}, set()),
    "a page of the index is cut": (cut(HELD_INDEX), {("wrong-page", HELD_INDEX)}, set()),
    "a page of the index is no JSON": (write(HELD_INDEX), {("wrong-page", HELD_INDEX)}, set()),
    "a page of the index is other JSON": (
        write(HELD_INDEX, b"[1]"), {("wrong-page", HELD_INDEX)}, set()
    ),
    "a page of the index is deep": (
        write(HELD_INDEX, b"[" * 10**5), {("wrong-page", HELD_INDEX)}, set()
    ),
    "a hash in the index is another": (
        lambda farm: change(
            farm, EGGS_INDEX, lambda page: page["files"][0]["hashes"].update(sha256="ab" * 32)
        ),
        {("wrong-page", EGGS_INDEX)}, set(),
    ),
    "a size in the index is another": (
        lambda farm: change(farm, EGGS_INDEX, lambda page: page["files"][0].update(size=1)),
        {("wrong-page", EGGS_INDEX)}, set(),
    ),
    "a file is missing in the index": (
        lambda farm: change(farm, INDEX, lambda page: page["files"].pop()),
        {("wrong-page", INDEX)}, set(),
    ),
    "a file in the index leads elsewhere": (
        lambda farm: change(farm, INDEX, lambda page: page["files"][0].update(url="//evil/x.whl")),
        {("wrong-page", INDEX)}, set(),
    ),
    "a yank is not shown": (
        sql("UPDATE versions SET yanked = true WHERE package = 'spam' AND version = '1.0'"),
        BOTH, set(),
    ),
    "a status is not shown": (
        sql("UPDATE packages SET status = 'archived' WHERE package = 'spam'"),
        {("wrong-page", INDEX)}, set(),
    ),
    "the index's HTML is gone": (
        remove("simple/spam/index.html"), {("missing-page", "simple/spam/index.html")}, set()
    ),
    "the index's HTML is cut": (
        cut("simple/spam/index.html", 400), {("wrong-page", "simple/spam/index.html")}, set()
    ),
    "the index's HTML leads elsewhere": (
        replace("simple/spam/index.html", b'href="spam-1', b'href="//evil/spam-1'),
        {("wrong-page", "simple/spam/index.html")}, set(),
    ),
    "the index's link is gone": (
        remove("simple/spam/index.v1_html"), {("missing-page", "simple/spam/index.v1_html")}, set()
    ),
    "the index's link leads elsewhere": (
        link("simple/spam/index.v1_html", "index.v1_json"),
        {("wrong-page", "simple/spam/index.v1_html")}, set(),
    ),
    "the index of a package without files": (
        lambda farm: (folder("simple/quiet")(farm), write("simple/quiet/index.html")(farm)),
        {("foreign-page", "simple/quiet/index.html")}, set(),
    ),
    "a page for people is gone": (
        remove("project/spam/index.html"), {("missing-page", "project/spam/index.html")}, set()
    ),
    "a page for people is cut": (
        cut("project/spam/index.html", 200), {("wrong-page", "project/spam/index.html")}, set()
    ),
    "a badge is gone": (
        remove("project/spam/badge.svg"), {("missing-page", "project/spam/badge.svg")}, set()
    ),
    "a badge is cut": (
        cut("project/spam/badge.svg", 200), {("wrong-page", "project/spam/badge.svg")}, set()
    ),
    "a project's feed is gone": (
        remove("project/spam/feed.atom"), {("missing-page", "project/spam/feed.atom")}, set()
    ),
    "a project's feed is cut": (
        cut("project/spam/feed.atom", 200), {("wrong-page", "project/spam/feed.atom")}, set()
    ),
    "a project's feed lacks a build": (
        replace("project/spam/feed.atom", b'"Log" href="../../logs/0000/0000/0001', b'"'),
        {("wrong-page", "project/spam/feed.atom")}, set(),
    ),
    "a project's feed has another build": (
        replace("project/spam/feed.atom", b"0000/0001", b"0000/0003"),
        {("wrong-page", "project/spam/feed.atom")}, set(),
    ),
    "a project's JSON is another": (
        replace("project/spam/json/index.json", b'"hash":"', b'"hash":"0'),
        {("wrong-page", "project/spam/json/index.json")}, set(),
    ),
    "a project's JSON is gone": (
        remove("project/spam/json/index.json"),
        {("missing-page", "project/spam/json/index.json")}, set(),
    ),
    "a foreign file next to a page": (
        write("project/spam/x.js"), {("foreign", "project/spam/x.js")}, set()
    ),
    "an unknown page": (folder("project/nobody"), {("foreign", "project/nobody")}, set()),
    "a page of a deleted package": (
        folder("project/gone"), {("foreign-page", "project/gone")}, set()
    ),
    "another spelling is gone": (
        remove("project/Spam"), {("missing-alias", "project/Spam")}, set()
    ),
    "another spelling leads elsewhere": (
        link("project/Spam", "eggs"), {("wrong-alias", "project/Spam")}, set()
    ),
    "another spelling leads to nothing": (
        link("project/Nothing", "nothing"), {("dangling-alias", "project/Nothing")}, set()
    ),
    "another spelling leads out": (
        link("project/Outside", "/etc"), {("link-outside", "project/Outside")}, set()
    ),
    "an unknown spelling": (
        link("project/SPAM", "spam"), {("foreign", "project/SPAM")}, set()
    ),
    "the root lists too little": (
        replace(ROOT, b'{"name":"eggs"},', b""), {("wrong-page", ROOT)}, set()
    ),
    "the root lists too much": (
        replace(ROOT, b'{"name":"spam"}', b'{"name":"h"},{"name":"spam"}'),
        {("wrong-page", ROOT)}, set(),
    ),
    "the root is cut": (cut(ROOT, 60), {("wrong-page", ROOT)}, set()),
    "the root has trailing data": (
        append(ROOT), {("wrong-page", ROOT)}, set()
    ),
    "the root is gone": (
        remove("simple/index.html"), {("missing-page", "simple/index.html")}, set()
    ),
    "the root's HTML lists too little": (
        replace("simple/index.html", b'<a href="eggs/">eggs</a><br>', b""),
        {("wrong-page", "simple/index.html")}, set(),
    ),
    "a page's HTML has trailing data": (
        append("simple/spam/index.html"), {("wrong-page", "simple/spam/index.html")}, set(),
    ),
    "the list for the search is cut": (
        write("packages.json", b'[["spam",1,2],["eg'), {("wrong-page", "packages.json")},
        {("wrong-page", "packages.json")},
    ),
    "the first page is gone": (remove("index.html"), {("missing-page", "index.html")}, set()),
    "the farm's feed is gone": (remove("feed.atom"), {("missing-page", "feed.atom")}, set()),
    # The database
    "the queue has lost a version": (
        sql("DELETE FROM build_queue WHERE package = 'spam'"), {("wrong-queue", "3.0")}, set()
    ),
    "the queue has another target": (
        sql("UPDATE build_queue SET abi_tag = 'cp312' WHERE package = 'spam'", triggers=False),
        {("wrong-queue", "3.0"), ("wrong-counter", "builds_pending any/any"),
         ("wrong-counter", "builds_pending any/cp312")}, set(),
    ),
    "the queue has a version too many": (
        sql("INSERT INTO build_queue VALUES ('failing', '1.0', 'any', 'cp311', '', 0)"),
        {("wrong-queue", "1.0")}, set(),
    ),
    "the queue has another place": (
        sql("UPDATE build_queue SET due = 1 WHERE package = 'spam'"),
        {("wrong-queue", "3.0")}, set(),
    ),
    "the queue allows two builds of a version at once": (
        sql("UPDATE build_queue SET exclusive = '' WHERE package = 'spam'"),
        {("wrong-queue", "3.0")}, set(),
    ),
    "a version excludes other Pythons than it says": (
        sql("UPDATE versions SET requires_python = '>=3.8', excluded = 1 WHERE package = 'spam'"
            " AND version = '3.0'"), {("wrong-requirement", "3.0")}, set(),
    ),
    "a counter is off": (
        sql("INSERT INTO counters VALUES ('files_count', '', 5)"),
        {("wrong-counter", "files_count")}, set(),
    ),
    "a counter is lost": (
        sql("DELETE FROM counters WHERE counter = 'builds_time'"),
        {("wrong-counter", "builds_time")}, set(),
    ),
    "a count of downloads is off": (
        sql("UPDATE counters SET value = 99 WHERE counter = 'downloads'"),
        {("wrong-counter", "downloads")}, set(),
    ),
    "a package's downloads are off": (
        sql("UPDATE downloads_ever SET downloads = 99"),
        {("wrong-counter", "downloads of eggs")}, set(),
    ),
    "a day's downloads are lost": (
        sql("DELETE FROM downloads_recent"),
        {("wrong-counter", f"downloads of eggs {TODAY}")}, set(),
    ),
    "published has lost a package": (
        sql("DELETE FROM published WHERE package = 'eggs'"),
        {("wrong-published", "eggs"), ("wrong-counter", "packages_built"),
         ("wrong-page", ROOT), ("wrong-page", "simple/index.html")}, set(),
    ),
    "published has a package too many": (
        sql("INSERT INTO published VALUES ('quiet')"),
        {("wrong-published", "quiet"), ("wrong-counter", "packages_built")}, set(),
    ),
    "a rewrite is late": (
        sql("INSERT INTO rewrites_pending VALUES ('failing', now() - interval '2 hours', 'BOTH')"),
        {("late-rewrite", "failing")}, set(),
    ),
    "a lease of no version": (
        sql("INSERT INTO leases VALUES ('eggs', '7.0', 'cp311', 'x', now(), now(), '', 'any')",
            triggers=False),
        {("orphan", "7.0")}, {("orphan", "7.0")},
    ),
    "a lease for no ABI": (
        sql("INSERT INTO leases VALUES ('eggs', '1.0', 'cp399', 'x', now(), now(), '', 'any')"),
        {("contradiction", "1.0")}, {("contradiction", "1.0")},
    ),
    "needs of no file": (
        sql("INSERT INTO dependencies VALUES ('x.whl', 'apt', 'libx')", triggers=False),
        {("orphan", "x.whl")}, {("orphan", "x.whl")},
    ),
    "a log that waits for no build": (
        sql("INSERT INTO build_logs_pending VALUES (999, 'x')", triggers=False),
        {("orphan", "999")},
        # The master writes it, as any.
        {("orphan", "999"), ("foreign-log", "logs/0000/0000/0999.txt.gz")},
    ),
    "a file of a failed build": (
        sql("UPDATE builds SET status = false WHERE package = 'eggs'"),
        {("contradiction", EGGS)}, {("contradiction", EGGS)},
    ),
    "tags of another file": (
        sql("UPDATE files SET platform_tag = 'win32' WHERE starts_with(filename, 'eggs-')"),
        {("contradiction", EGGS)}, {("contradiction", EGGS)},
    ),
    "a name that is another package's": (
        sql("INSERT INTO package_names VALUES ('Eggs', 'spam', now())"),
        {("contradiction", "Eggs"), ("missing-alias", "project/Eggs")},
        {("contradiction", "Eggs")},
    ),
}  # fmt: skip


def change(farm, index, how):
    path = farm.site / index
    page = json.loads(path.read_bytes())
    how(page)
    path.write_bytes(json.dumps(page).encode())


def groups():
    """Return lists of cases that have no page, file or row in common: they share a farm."""
    made = []
    for name, (_, found, _) in CASES.items():
        places = {re.sub(r"\.(gz|metadata)$", "", path) for _, path in found}
        for names, taken in made:
            if places.isdisjoint(taken):
                names.append(name)
                taken.update(places)
                break
        else:
            made.append(([name], places))
    return [names for names, _ in made]


@pytest.mark.parametrize("names", groups(), ids=lambda names: f"{names[0]} (and {len(names) - 1})")
def test_damage_is_found_and_repaired(farm, rewrite, names):
    cases = [CASES[name] for name in names]
    for damage, _, _ in cases:
        damage(farm)
    found = set().union(*(found for _, found, _ in cases))
    left = set().union(*(left for _, _, left in cases))
    quarantine = farm.site.parent / "quarantine"
    assert farm.audit("--repair", "--yes", f"--quarantine-dir={quarantine}") == found, farm.why
    assert all(farm.why.values())
    # The repair of a page must not rely on another finding of its package.
    for kind, path in found:
        _, *names = path.split("/")
        if path in ROOTS and farm.why[path].startswith("does not list "):
            assert farm.package[path] == farm.why[path].split()[-1]
        elif path not in ROOTS and KINDS[kind] is Remedy.REWRITE and names:
            assert farm.package[path] == ("spam" if kind.endswith("-alias") else names[0])
    rewrite(farm)
    assert farm.audit() - left == set(), farm.why
