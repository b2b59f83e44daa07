"""Stored download counts equal those counted from scratch, and every kind of row is stored."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piwheels.core.database import pages
from piwheels.core.states import (
    BuildState,
    DownloadState,
    FileState,
    JSONState,
    PageState,
    ProjectState,
    SearchState,
)

PACKAGES = ("foo", "bar")
VERSIONS = ("1.0", "2.0")
AGES = [timedelta(days=days, minutes=minutes) for days in (-40, 0, 1, 29, 30, 31, 400)
        for minutes in (0, 58, 62)]  # fmt: skip
KEPT = (
    "SELECT 'ever', package, '', downloads FROM downloads_ever",
    "SELECT 'recent', package, day::text, downloads FROM downloads_recent",
    "SELECT counter, '', key, sum(value) FROM counters WHERE counter LIKE 'downloads%'"
    " GROUP BY counter, key HAVING sum(value) <> 0",
)


def filename(package, version):
    return f"{package}-{version}-py3-none-any.whl"


def build_of(package, version):
    name = filename(package, version)
    tags = (package, version, "py3", "none", "any")
    file = FileState(name, 1, "a" * 64, *tags, None, {})
    took = timedelta(seconds=1)
    return BuildState(1, package, version, "cp311", True, took, "log", {name: file})


def download(name, when):
    return DownloadState(name, "192.0.2.1", when, *[None] * 10)


def kept(cursor):
    found = set()
    for query in KEPT:
        cursor.execute(query)
        found |= set(cursor.fetchall())
    return found


package = st.sampled_from(PACKAGES)
version = st.sampled_from(VERSIONS)
operations = st.one_of(
    st.tuples(st.just("log"), st.lists(st.tuples(package, version, st.sampled_from(AGES)))),
    st.tuples(st.just("build"), package, version),
    st.tuples(st.just("delete_package"), package),
    st.tuples(st.just("delete_version"), package, version),
    st.tuples(st.just("delete_build"), package, version),
    st.tuples(st.just("skip_package"), package, st.sampled_from(["", "deleted"])),
    st.tuples(st.just("get_statistics")),
)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(todo=st.lists(operations, min_size=5, max_size=25))
def test_kept_downloads_are_those_counted_from_scratch(db, cursor, todo):
    cursor.execute("TRUNCATE packages, counters, downloads, downloads_daily, downloads_ever,"
                   " downloads_recent, build_abis, published CASCADE")  # fmt: skip
    db.add_build_abi("cp311")
    files, rows = set(), Counter()
    now = datetime.now(UTC)
    for what, *args in [("build", "foo", "1.0"), *todo]:
        match what:
            case "log":
                known = Counter(
                    (name, now - age) for name, number, age in args[0] if (name, number) in files
                )
                entries = [download(filename(*row[:2]), now - row[2]) for row in args[0]]
                assert db.log_many(entries) == known.total()
                rows += known
            case "build":
                db.add_new_package(args[0])
                db.add_new_package_version(*args)
                if tuple(args) not in files and isinstance(db.log_build(build_of(*args)), int):
                    files.add(tuple(args))
            case _:
                getattr(db, what)(*args)
                gone = {"delete_package": 1, "delete_version": 2, "delete_build": 2}.get(what)
                files -= {file for file in files if gone and list(file[:gone]) == args}
    today = datetime.now(UTC).date()
    if today != now.date():  # midnight has come between
        return
    month = [today - timedelta(days=days) for days in range(30)]
    ever, recent = Counter(), Counter()
    for (name, when), count in rows.items():
        ever[name] += count
        recent[name] += count * (when.date() in month)
    cursor.execute("SELECT package FROM packages WHERE skip <> 'deleted' ORDER BY package")
    listed = [name for (name,) in cursor.fetchall()]
    assert list(db.get_search_index().items()) == [(n, (recent[n], ever[n])) for n in listed]
    statistics = db.get_statistics()
    assert statistics["downloads_all"] == ever.total()
    assert statistics["downloads_last_month"] == recent.total()
    hour = sum(count for (_, when), count in rows.items() if timedelta(0) <= now - when
               < timedelta(hours=1))  # fmt: skip
    assert statistics["downloads_last_hour"] == hour
    before = kept(cursor)
    cursor.execute("SELECT piwheels._refresh_derived()")
    # A file that was deleted since is not in the last hour's downloads when they are counted again.
    assert {row for row in kept(cursor) ^ before if row[0] != "downloads_minute"} == set()


def test_a_result_longer_than_a_message_is_split(db, monkeypatch):
    monkeypatch.setattr(pages.Pages.get_search_part, "__defaults__", (2,))
    monkeypatch.setattr(pages.Pages.load_rewrites_part, "__defaults__", (2,))
    names = ["a", "b", "c", "d", "e"]
    for name in reversed(names):
        db.add_new_package(name)
        db.add_rewrite(name, "BOTH")
    assert list(db.get_search_index()) == names
    assert [row.package for row in db.load_rewrites_pending()] == names[::-1]


AGENT = ("armv7l", "Raspbian", "12", "Linux", "6.1", "CPython", "3.11.2", "pip", "24.0", "66.1")
NOW = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-1)))


@pytest.mark.parametrize(
    ("method", "table", "state"),
    [
        ("log_download", "downloads", DownloadState("a.whl", "::1", NOW, *AGENT)),
        (
            "log_metadata_download",
            "metadata_downloads",
            DownloadState("a.whl.metadata", "::1", NOW, *AGENT),
        ),
        ("log_search", "searches", SearchState("a", "host.example", NOW, *AGENT)),
        ("log_search", "searches", SearchState("a", "::1", NOW, *[None] * 10)),
        ("log_many", "project_page_hits", ProjectState("a", "::1", NOW, "x" * 8192)),
        ("log_many", "project_json_downloads", JSONState("a", "::1", NOW, "")),
        ("log_many", "web_page_hits", PageState("/faq.html", "::1", NOW, "agent")),
    ],
)
def test_every_kind_of_row_is_stored_completely(db, cursor, method, table, state):
    getattr(db, method)([state] if method == "log_many" else state)
    cursor.execute(f"TABLE {table}")
    assert cursor.fetchall() == [tuple(state)]


def test_long_values_are_truncated_and_sanitised(db, cursor):
    odd = "\x00\ud800" + "é" * 9000
    zone = timezone(timedelta(hours=23, microseconds=1))
    for when in (datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone)):
        db.log_download(DownloadState(odd, odd, when, *[odd] * 10))
        db.log_many([PageState(odd, odd, when, odd)])
    cursor.execute("SELECT filename, accessed_by, setuptools_version FROM downloads")
    assert {tuple(map(len, row)) for row in cursor.fetchall()} == {(255, 200, 200)}
    cursor.execute("SELECT page, accessed_by, user_agent FROM web_page_hits")
    rows = cursor.fetchall()
    assert {tuple(map(len, row)) for row in rows} == {(255, 200, 8192)}
    assert all(text.startswith("\ufffd\ufffdé") for row in rows for text in row)


def test_old_statistics_are_deleted(db, cursor):
    cursor.execute("INSERT INTO downloads_recent VALUES ('foo', now()::date - 31, 1)")
    cursor.execute(
        "INSERT INTO counters VALUES ('downloads_day', (now()::date - 31)::text, 1),"
        " ('downloads_minute', (now() - interval '2 hours')::timestamp::text, 1)"
    )
    db.get_statistics()
    assert kept(cursor) == set()
