"""Upstream changes are applied atomically, can be repeated, and never override an operator."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from helpers import patience, until
from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion, WatchedRow
from piwheels.core.database.upstream import BINARY_ONLY
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.recipes import PLAIN
from piwheels.core.states import Attempt, BuildState, FileState, Retry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def written_now(db):
    """Record that the pages have been written."""
    if (note := db.get_rewrite_note("foo", "BOTH")) is not None:
        db.rewrite_done("foo", note)


def follow(db, *versions, serial=None, written=True, **package):
    """Apply upstream data; return the pages to write, and record them as written."""
    found = dict(db.follow_upstream([UpstreamPackage("foo", **package)], versions, serial))
    if written:
        written_now(db)
    return found


def version(number="1.0", **more):
    return UpstreamVersion("foo", number, **more)


def release(db, number="1.0"):
    return db.get_project_data("foo")["releases"][number]


def build_of(number):
    tags = "foo", number, "py3", "none", "any"
    file = FileState(f"foo-{number}-py3-none-any.whl", 9, number[0] * 64, *tags, None, {})
    ended = True, timedelta(seconds=1), "log"
    return BuildState(1, "foo", number, "cp311", *ended, {file.filename: file})


@pytest.fixture
def queue(db):
    db.add_build_abi("cp311")
    return lambda: [version for _, version in db.get_build_queue().get("cp311", [])]


@pytest.mark.parametrize(
    ("first", "other"),
    [("1.0", "1.0.0"), ("1.0.0", "1"), ("1.0-1", "1.0.post1"), ("2.0rc1", "v2.0.c.1")],
)
def test_events_in_another_spelling_change_the_first(db, queue, first, other):
    follow(db, version(first, released=NOW, added=[f"foo-{first}.zip"]))
    again = version(other, released=NOW, added=[f"foo-{other}.zip"], yanked=True, yank_reason="bad")
    assert follow(db, again) == {"foo": "BOTH"}
    assert list(db.get_project_data("foo")["releases"]) == queue() == [first]
    assert (release(db, first)["yanked"], release(db, first)["yank_reason"]) == (True, "bad")
    assert set(db.get_known_versions("foo")[first].sources) == {f"foo-{first}.zip", *again.added}
    follow(db, version(other, yanked=False, quarantined=True))
    assert (release(db, first)["yanked"], release(db, first)["quarantined"]) == (False, True)
    follow(db, version(other, deleted=True))
    assert db.get_deletions() == [("foo", first)]


ADDED = "SELECT piwheels.add_new_package_version('foo', '1.0', now(), '', '{}')"
ROW = '{"package": "foo", "version": "1.0", "released": "2026-01-01", "added": [], "wheels": ""}'
FOLLOWED = f"SELECT piwheels.follow_upstream('[]', '[{ROW}]', '', 1, '{{}}', '{{}}')"


@pytest.mark.parametrize("first", [ADDED, FOLLOWED], ids=["added", "followed"])
@pytest.mark.parametrize(
    "second",
    [
        lambda db: db.add_new_package_version("foo", "1.0.0"),
        lambda db: follow(db, version("1.0.0", released=NOW)),
    ],
    ids=["adds", "follows"],
)
def test_two_programs_at_once_add_one_spelling(db, superuser, first, second):
    db.add_new_package("foo")
    with ThreadPoolExecutor() as pool:
        with superuser as open_transaction:
            open_transaction.cursor().execute(first)
            done = pool.submit(second, db)
            until(lambda: waiting(superuser))
        done.result(patience(10))
    assert set(db.get_known_versions("foo")) == {"1.0"}


@pytest.fixture
def superuser(superuser_dsn):
    connection = psycopg2.connect(superuser_dsn)
    yield connection
    connection.close()


def waiting(connection):
    """Return whether a transaction in this database waits for a row that another has locked."""
    cursor = connection.cursor()
    cursor.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return cursor.fetchone()[0]


@pytest.fixture
def doubled(db, superuser):
    """Store two spellings of one version, as a database of an earlier piwheels may have them."""
    db.add_new_package("foo")
    with superuser, superuser.cursor() as cursor:
        cursor.execute(
            "INSERT INTO versions (package, version) VALUES ('foo', '1.0'), ('foo', '1.0.0')"
        )


@pytest.mark.usefixtures("doubled")
def test_spellings_that_are_here_already_keep_their_own_events(db):
    follow(db, version("1.0.0", yanked=True))
    assert [release(db, each)["yanked"] for each in ("1.0", "1.0.0")] == [False, True]


@pytest.mark.usefixtures("doubled")
def test_spellings_that_are_here_already_get_no_third(db):
    assert not db.add_new_package_version("foo", "1")
    follow(db, version("1", released=NOW))
    assert db.add_new_package_version("foo", "2")
    assert set(db.get_known_versions("foo")) == {"1.0", "1.0.0", "2"}


def test_a_release_is_built_once_its_source_is_there(db, queue):
    wheels = version(released=NOW)
    assert follow(db, wheels, serial=7) == {"foo": "PROJECT"}
    assert (release(db)["skip"], queue(), db.get_pypi_serial()) == (BINARY_ONLY, [], 7)
    source = version(released=NOW + timedelta(days=1), added=["foo-1.0.tar.gz"])
    assert follow(db, source) == {"foo": "PROJECT"}
    assert (release(db)["skip"], release(db)["released"], queue()) == ("", NOW, ["1.0"])
    assert db.get_pypi_serial() == 7
    assert follow(db, source) == {}
    assert follow(db, version(removed=["foo-1.0.tar.gz"])) == {"foo": "PROJECT"}
    assert (release(db)["skip"], queue()) == (BINARY_ONLY, [])


def test_a_version_is_skipped_once_both_sources_are_gone(db, queue):
    follow(db, version(released=NOW, added=["foo-1.0.zip", "Foo-1.0.tar.gz"]))
    assert db.get_known_versions("foo")["1.0"].sources == ["Foo-1.0.tar.gz", "foo-1.0.zip"]
    follow(db, version(removed=["foo-1.0.zip"]))
    assert queue() == ["1.0"]
    follow(db, version(removed=["Foo-1.0.tar.gz"]))
    assert queue() == []


def test_an_operators_reason_stays(db, queue):
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0", NOW, "because")
    db.add_new_package_version("foo", "2.0", NOW)
    for changes in ({"added": ["s"]}, {"removed": ["s"]}):
        follow(db, version(released=NOW, **changes), version("2.0", removed=["other"]))
        assert release(db)["skip"] == "because"
        assert queue() == ["2.0"]  # which upstream has never said to have a source
    follow(db, version("3.0", released=NOW))
    db.skip_package_version("foo", "3.0", "")
    follow(db, version("3.0", released=NOW))
    assert queue() == ["2.0", "3.0"]


@pytest.mark.parametrize("operator", [False, True])
def test_yanks_of_operators_stay(db, operator):
    follow(db, version(released=NOW, added=["s"]))
    if operator:
        db.yank_version("foo", "1.0", "ours")
    follow(db, version(yanked=True, yank_reason="theirs"))
    assert (release(db)["yanked"], release(db)["yank_reason"]) == (
        True,
        "ours" if operator else "theirs",
    )
    assert follow(db, version(yanked=True, yank_reason="theirs")) == {}
    follow(db, version(yanked=False))
    assert release(db)["yanked"] is operator
    assert release(db)["yank_reason"] == ("ours" if operator else "")


def test_an_operators_unyank_holds_until_upstream_changes(db):
    follow(db, version(released=NOW, yanked=True, yank_reason="one"))
    assert (release(db)["yanked"], release(db)["yank_reason"]) == (True, "one")
    follow(db, version(yanked=True, yank_reason="two"))
    assert release(db)["yank_reason"] == "two"
    db.unyank_version("foo", "1.0")
    follow(db, version(yanked=True))
    assert release(db)["yanked"] is False
    follow(db, version(yanked=False))
    assert follow(db, version(yanked=True)) == {"foo": "BOTH"}
    assert release(db)["yanked"] is True


def test_quarantine_withholds_files_and_builds(db, queue):
    sources = [version(n, released=NOW, added=[n]) for n in ("1.0", "2.0", "3.0")]
    follow(db, *sources)
    db.log_build(build_of("1.0"))
    db.log_build(build_of("2.0"))
    assert follow(db, version("1.0", quarantined=True)) == {"foo": "URGENT"}
    assert [file.version for file in db.get_simple_project("foo").files] == ["2.0"]
    assert release(db)["files"] == {}
    assert db.get_version_skip("foo", "1.0") == "quarantined"
    assert db.get_simple_index() == ["foo"]
    follow(db, version("2.0", quarantined=True), version("3.0", quarantined=True))
    assert (db.get_simple_index(), queue()) == ([], [])
    follow(db, *[version(n, quarantined=False) for n in ("1.0", "2.0", "3.0")])
    assert (db.get_simple_index(), queue()) == (["foo"], ["3.0"])
    assert follow(db, status="quarantined") == {"foo": "URGENT"}
    assert queue() == []
    assert db.get_version_skip("foo", "3.0") == "quarantined"
    assert release(db)["files"] == {}
    assert follow(db, status="active") == {"foo": "URGENT"}
    assert queue() == ["3.0"]


def fail(db, reason, number="1.0", abi="cp311", **about):
    ended = False, timedelta(seconds=1), "log"
    why = Diagnosis(reason)
    db.log_build(BuildState(1, "foo", number, abi, *ended, {}, diagnosis=why, **about))


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"added": ["foo-1.0.zip"]}, True),
        ({"added": ["foo-1.0.tar.gz"]}, True),  # a file that was removed, and uploaded again
        ({"digest": "b" * 64}, True),
        ({"digest": "a" * 64, "yanked": False}, False),
        ({"removed": ["foo-1.0.tar.gz"], "digest": "b" * 64}, False),
        ({"requires_python": ">=3.8"}, False),
    ],
)
@pytest.mark.parametrize("reason", ["no-source", "gone", "hash-mismatch"])
def test_new_sources_are_tried_at_once(db, queue, change, again, reason):
    follow(db, version(released=NOW, added=["foo-1.0.tar.gz"], digest="a" * 64))
    fail(
        db,
        reason,
        counts=reason != "hash-mismatch",
        retry=Retry(Attempt(3, ("look",)), PLAIN, None),
    )
    assert queue() == []
    follow(db, version(**change))
    assert queue() == (["1.0"] if again else [])


def test_new_sources_change_no_other_results(db, queue):
    db.add_build_abi("cp313")
    numbers = ("1.0", "2.0", "3.0", "4.0")
    follow(db, *[version(n, released=NOW, added=[f"foo-{n}.zip"]) for n in numbers])
    for number in numbers:
        for abi in ("cp311", "cp313"):
            fail(db, "no-source", number, abi)
    fail(db, "compile-error", "2.0")
    db.log_build(build_of("3.0"))
    assert queue() == []
    follow(db, *[version(n, digest="a" * 64) for n in numbers[:3]])
    assert db.get_build_queue() == {
        "cp311": [("foo", "1.0")], "cp313": [("foo", "1.0"), ("foo", "2.0")],
    }  # fmt: skip
    (first, *_) = db.get_pending([("foo", "1.0")])
    assert first.attempt == Attempt(1)
    fail(db, "no-source", "1.0")  # it is an attempt like others
    assert db.get_build_queue()["cp311"] == []


def test_deleted_releases_are_marked_until_they_are_removed(db, queue):
    follow(db, version(released=NOW, added=["s"]), version("2.0", released=NOW, added=["s"]))
    assert follow(db, version(deleted=True)) == {"foo": "BOTH"}
    assert (db.get_deletions(), queue()) == ([("foo", "1.0")], ["2.0"])
    assert follow(db, known=False, deleted=True, written=False) == {"foo": "URGENT"}
    assert (db.get_deletions(), queue()) == ([("foo", None)], [])
    assert db.load_rewrites_pending()[0].command == "BOTH"
    db.delete_package("foo")
    written_now(db)
    assert db.get_deletions() == []
    assert follow(db, version(deleted=True), known=False) == {}
    assert db.get_all_packages() == set()


def test_pending_pages_are_reported_again(db):
    wheels = version(released=NOW)
    assert follow(db, wheels, written=False) == {"foo": "PROJECT"}
    assert follow(db, wheels) == {"foo": "PROJECT"}  # as if the first answer had been lost
    assert follow(db, wheels) == {}


def test_a_project_keeps_the_spelling_of_its_name(db):
    follow(db, name="Foo", seen=NOW)
    assert (db.get_all_packages(), db.get_package_aliases("foo")) == ({"foo"}, ["Foo"])


def test_watched_projects(db):
    db.watch_package("asked")
    db.watch_listed(["both", "listed"])
    db.watch_package("both")
    assert [row.package for row in db.get_watched()] == ["asked", "both", "listed"]
    row = WatchedRow("asked", True, "1.0", NOW, 9, '"tag"', "Sun, 01 Mar 2026 12:00:00 GMT")
    db.watch_polled(row)
    db.watch_polled(row._replace(package="unknown"))
    row = row._replace(polled=True)
    assert db.get_watched()[0] == row
    assert [db.unwatch_package(name) for name in ("listed", "unknown", "both")] == [0, 0, 1]
    db.watch_listed([])
    assert db.get_watched() == [row]
    assert db.unwatch_package("asked") is True
    assert db.get_watched() == []


def test_a_project_is_pinned_while_it_has_versions(db):
    db.add_new_package("foo")
    assert db.get_watched() == []
    for number in ("1.0", "2.0"):
        db.add_new_package_version("foo", number)
    assert db.get_watched() == [WatchedRow("foo", pinned=True)]
    assert db.get_unpolled(["foo", "bar"]) == ["foo"]
    row = WatchedRow("foo", True, serial=9, etag='"tag"', pinned=True)
    db.watch_polled(row)
    assert db.get_unpolled(["foo"]) == []
    db.add_new_package_version("foo", "3.0")  # may not be on the page of before
    assert db.get_watched() == [WatchedRow("foo", True, pinned=True)]
    db.watch_asked(row)
    assert db.get_unpolled(["foo"]) == ["foo"], "that answer was of before"
    db.watch_asked(db.get_watched()[0])
    assert db.get_unpolled(["foo"]) == []
    db.watch_package("foo")
    assert db.get_watched()[0].pinned is False
    db.unwatch_package("foo")
    db.watch_listed([])
    assert db.get_watched()[0].pinned is True
    for number in ("1.0", "2.0"):
        db.delete_version("foo", number)
    assert db.get_watched() != []
    db.delete_package("foo")
    assert db.get_watched() == []


def test_the_upload_time_is_the_release_time(db, queue):
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0")
    follow(db, version(uploaded=NOW))
    assert release(db)["released"] == NOW
    follow(db, version())
    assert release(db)["released"] == NOW
