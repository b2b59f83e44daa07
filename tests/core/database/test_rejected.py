"""A row that the database rejects is left out and logged; all other rows are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import reject_rows
from piwheels.core.database.connection import halved
from piwheels.core.database.dsn import administer
from piwheels.core.database.rows import (
    RewritePendingRow,
    UpstreamPackage,
    UpstreamVersion,
    WatchedRow,
)
from piwheels.core.errors import Refused, Rejected
from piwheels.core.states import BuildState, DownloadState, PageState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(st.lists(st.booleans(), max_size=40))
def test_halving_finds_exactly_the_bad_rows(rows):
    stored, skipped = [], []

    def store(part):
        if any(bad for _, bad in part):
            raise Rejected("bad")
        stored.extend(part)

    numbered = list(enumerate(rows))
    halved(numbered, store, lambda row, exc: skipped.append(row))
    assert stored == [row for row in numbered if not row[1]]
    assert skipped == [row for row in numbered if row[1]]


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({"latest": NOW, "serial": 2**63}, "function"),
        ({"serial": 2**70}, "function"),
        ({"newest": "bad"}, "check constraint"),
    ],
)
def test_rejected_data_is_told_apart_from_a_lost_database(about, text, db, superuser_dsn):
    reject_rows(superuser_dsn, "watched", "newest <> 'bad'")
    db.watch_package("foo")
    with pytest.raises(Rejected, match=text):
        db.watch_polled(WatchedRow("foo")._replace(**about))


def test_a_value_that_the_driver_cannot_send_is_rejected(db):
    for reason in ("\0", "\ud800"):
        with pytest.raises(Rejected):
            db._value("watch_package", reason)


def test_a_row_of_the_access_log_spoils_no_other(db, superuser_dsn, caplog):
    reject_rows(superuser_dsn, "web_page_hits", "page <> '/bad'")
    reject_rows(superuser_dsn, "downloads", "filename <> 'bad.whl'")
    pages = [PageState(f"/{name}", "::1", NOW, "agent") for name in ("a", "bad", "b", "c")]
    files = [
        DownloadState(f"{name}.whl", "::1", NOW, "armv7l", *[None] * 9) for name in ("a", "bad")
    ]
    assert db.log_many([*pages, *files]) == 0
    assert administer(superuser_dsn, "SELECT page FROM web_page_hits ORDER BY 1") == [
        ("/a",), ("/b",), ("/c",),
    ]  # fmt: skip
    assert administer(superuser_dsn, "SELECT filename FROM downloads") == [("a.whl",)]
    assert caplog.text.count("left out what the database rejects") == 2
    assert "page='/bad'" in caplog.text


def test_many_rejected_rows_cause_few_lines(db, superuser_dsn, caplog):
    reject_rows(superuser_dsn, "web_page_hits", "page <> '/bad'")
    db.log_many([PageState("/bad", "::1", NOW, "agent")] * 50)
    assert caplog.text.count("left out what") == 20
    assert "left out 30 more rows" in caplog.text


def test_a_rewrite_spoils_no_other(db, superuser_dsn, caplog):
    reject_rows(superuser_dsn, "rewrites_pending", "package <> 'bad'")
    db.save_rewrites_pending(
        [RewritePendingRow(name, NOW, "BOTH") for name in ("a", "b", "bad", "c")]
    )
    assert [row.package for row in db.load_rewrites_pending()] == ["a", "b", "c"]
    assert "package='bad'" in caplog.text


def test_an_upstream_change_spoils_no_other(db, superuser_dsn, caplog):
    reject_rows(superuser_dsn, "versions", "version <> '6.6'")
    names = ["a", "b", "c", "d"]
    packages = [UpstreamPackage(name, status="odd" if name == "c" else None) for name in names]
    versions = [UpstreamVersion(name, number, NOW) for name in names for number in ("1.0", "6.6")]
    rewrites = dict(db.follow_upstream(packages, versions, 42))
    assert set(rewrites) == {"a", "b", "d"}
    assert {name: set(db.get_known_versions(name)) for name in names} == {
        "a": {"1.0"}, "b": {"1.0"}, "c": set(), "d": {"1.0"},
    }  # fmt: skip
    assert db.get_pypi_serial() == 42
    assert caplog.text.count("left out what the database rejects") == 4  # one for each project
    assert "version='6.6'" in caplog.text
    assert "status='odd'" in caplog.text


def test_a_build_spoils_no_other(db):
    db.add_build_abi("cp311")
    db.follow_upstream([UpstreamPackage("a")], [UpstreamVersion("a", "1", NOW)])
    good = BuildState(1, "a", "1", "cp311", True, timedelta(1), "log", {})
    bad = good.__class__(1, "a", "1", "cp311", True, NotATime(), "log", {})
    with pytest.raises(Rejected):
        db.log_builds([good, bad])
    with pytest.raises(Refused, match="rejects this build"):
        db.log_build(bad)
    assert db.log_build(good)


class NotATime:
    """A duration that is not a number."""

    def total_seconds(self):
        return float("nan")
