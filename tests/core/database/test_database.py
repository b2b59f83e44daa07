"""The database returns what was stored, and no input can break it."""

from __future__ import annotations

import dataclasses
import os
import select
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from helpers import patience
from piwheels.core.database import Database
from piwheels.core.database.connection import LOG, database_url
from piwheels.core.database.dsn import administer
from piwheels.core.database.rows import Published, RewritePendingRow
from piwheels.core.errors import DatabaseError, Fatal, Refused
from piwheels.core.states import (
    BuildState,
    DownloadState,
    FileState,
    JSONState,
    MasterStats,
    PageState,
    ProjectState,
    SearchState,
    Trial,
)
from piwheels.core.targets import FIRST, Target
from piwheels.core.text import clean_lines

CP39 = Target("any", "cp39")
NOW = datetime.now(UTC).replace(microsecond=0)
WHEEL = "foo-1.0-cp39-cp39-linux_x86_64.whl"


def wheel(filename=WHEEL, *, hash_="a" * 64, **changes):
    package, version, py, abi, platform = filename.removesuffix(".whl").split("-")
    needs = {"apt": ["libfoo1", "libbar2"], "pip": [], "": ["libodd.so.1"]}
    values = {"requires_python": ">=3.9", "dependencies": needs, "metadata_hash": "b" * 64}
    return FileState(
        filename, 123, hash_, package, version, py, abi, platform, **{**values, **changes}
    )


def build(*files, version="1.0", abi="cp39", status=True, output="it went well\n", package="foo"):
    by_name = {each.filename: each for each in files}
    return BuildState(7, package, version, abi, status, timedelta(minutes=2), output, by_name)


def download(filename=WHEEL, when=NOW, **more):
    fields = dict.fromkeys(DownloadState._fields[3:])
    return DownloadState(filename, "192.0.2.1", when, **{**fields, **more})


@pytest.fixture
def farm(db):
    """A farm with an ABI, a package and two versions."""
    db.add_build_abi("cp39")
    db.add_new_package("foo", description="Makes foo")
    db.add_new_package_version("foo", "1.0", NOW - timedelta(days=9))
    db.add_new_package_version("foo", "2.0", NOW - timedelta(days=3))
    return db


def test_packages_and_versions(db):
    assert db.add_new_package("foo")
    assert not db.add_new_package("foo", skip="again")
    assert db.test_package("foo")
    assert not db.test_package("bar")
    assert db.add_new_package_version("foo", "1.0")
    assert not db.add_new_package_version("foo", "1.0")
    assert not db.add_new_package_version("nosuch", "1.0")
    assert db.test_package_version("foo", "1.0")
    assert not db.test_package_version("foo", "2.0")
    assert db.get_all_packages() == {"foo"}
    assert db.get_version_skip("foo", "1.0") == ""
    for version in ("1.0", None):
        db.hold_builds("foo", version, True)
        assert db.builds_held("foo", version)
        assert db.get_version_skip("foo", "1.0") == "its builds are being removed"
        db.hold_builds("foo", version, False)
    assert db.get_version_skip("foo", "2.0") is None
    db.skip_package("foo", "too big")
    assert db.get_version_skip("foo", "1.0") == "too big"
    db.skip_package_version("foo", "1.0", "deleted")
    assert db.get_version_skip("foo", "1.0") == "deleted"
    assert db.get_versions_deleted("foo") == {"1.0"}
    db.skip_package("foo", "deleted")
    assert db.get_simple_project("foo") is None
    db.delete_version("foo", "1.0")
    assert not db.test_package_version("foo", "1.0")
    db.delete_package("foo")
    assert db.get_all_packages() == set()


def test_aliases_serial_and_description(db):
    db.add_new_package("foo-bar")
    db.add_package_name("foo-bar", "foo-bar")
    db.add_package_name("foo-bar", "Foo.Bar")
    db.add_package_name("foo-bar", "FOO_bar", NOW)
    db.add_package_name("nosuch", "NoSuch")
    assert db.get_package_aliases("foo-bar") == ["FOO_bar", "Foo.Bar"]
    assert db.get_pypi_serial() == 0
    db.follow_upstream([], [], 2**40)
    assert db.get_pypi_serial() == 2**40
    db.set_package_description("foo-bar", "Two\nlines")
    db.set_package_status("foo-bar", "archived")
    project = db.get_simple_project("foo-bar")
    assert (project.description, project.status) == ("Two\ufffdlines", "archived")
    with pytest.raises(DatabaseError):
        db.set_package_status("foo-bar", "odd")


def test_abis_have_skips(db):
    assert db.add_build_abi("cp39")
    assert db.add_build_abi("cp310", skip="too new")
    assert not db.add_build_abi("cp39")
    assert db.get_build_abis() == {"cp39", "cp310"}
    assert db.get_build_abis(exclude_skipped=True) == {"cp39"}
    assert not db.add_build_abi("cp310")
    assert db.get_build_abis(exclude_skipped=True) == {"cp39", "cp310"}


def test_a_logged_build_is_stored_completely(farm):
    farm.grant_lease("foo", "1.0", CP39, "attic", NOW + timedelta(hours=1))
    (pending,) = farm.get_pending([("foo", "1.0"), ("foo", "9")])
    assert pending[:5] == ("foo", "1.0", *FIRST, "version")
    number = farm.log_build(dataclasses.replace(build(wheel()), label="kitchen"))
    assert farm.get_all_build_ids() == {number}
    assert farm.get_leases() == []
    assert farm.get_pending([("foo", "1.0")]) == []
    assert farm.get_unwritten_logs() == [(number, "it went well\n")]
    assert farm.get_build_log(number, 3, 4) == ("went", 13)
    assert farm.get_build_log(number, 2**62, 2**62) == ("", 13)
    farm.logs_written([number])
    assert farm.get_build_log(number, 0, 100) is None
    (ended,) = farm.get_recent_builds(5)
    assert ended[:8] == (number, 7, "kitchen", "foo", "1.0", "cp39", True, timedelta(minutes=2))
    assert ended.files == 1
    assert farm.get_unwritten_logs() == []
    (row,) = farm.load_rewrites_pending()
    assert (row.package, row.command) == ("foo", "BOTH")
    (row,) = farm.get_builds([("foo", "1.0"), ("foo", "1.0")])
    assert row[:7] == (number, "foo", "1.0", "cp39", "linux_x86_64", True, timedelta(minutes=2))
    assert row.filenames == [WHEEL]
    assert farm.get_package_files("foo") == {WHEEL: "a" * 64}
    assert farm.get_simple_index() == ["foo"]
    project = farm.get_simple_project("foo")
    assert project[:4] == ("foo", "active", "Makes foo", ["1.0", "2.0"])
    (file,) = project.files
    assert file.published_at.tzinfo is not None
    assert file._replace(published_at=NOW) == (
        WHEEL, 123, "a" * 64, ">=3.9", False, "", "b" * 64, NOW, "cp39", "1.0",
        ["libbar2", "libfoo1"],
    )  # fmt: skip
    farm.delete_build("foo", "1.0")
    assert farm.get_simple_index() == []
    assert farm.get_pending([("foo", "1.0")]) == [pending]


def test_project_data(farm):
    tried = wheel()
    tried.trial = Trial(WHEEL, True, False, "foo: \x1bno", "a:1", "ls")
    ok = farm.log_build(build(tried))
    bad = farm.log_build(build(status=False, version="2.0"))
    farm.yank_version("foo", "1.0", "a hole")
    data = farm.get_project_data("foo")
    assert (data["name"], data["description"], data["skip"]) == ("foo", "Makes foo", "")
    assert list(data["releases"]) == ["2.0", "1.0"]
    newest, oldest = data["releases"].values()
    assert [(b["build_id"], b["status"]) for b in newest["builds"]] == [(bad, False)]
    assert newest["files"] == {}
    assert (oldest["yanked"], oldest["yank_reason"]) == (True, "a hole")
    assert oldest["released"] == NOW - timedelta(days=9)
    assert oldest["builds"][0]["duration"] == timedelta(minutes=2)
    assert oldest["files"] == {
        WHEEL: {
            "hash": "a" * 64, "size": 123, "abi_builder": "cp39", "file_abi": "cp39",
            "platform": "linux_x86_64", "requires_python": ">=3.9",
            "apt_dependencies": ["libbar2", "libfoo1"], "build_id": ok, "installs": True,
            "imports": False, "trial_why": "foo: \ufffdno", "connects": "a:1", "starts": "ls",
        }
    }  # fmt: skip
    farm.unyank_version("foo", "1.0")
    assert not farm.get_simple_project("foo").files[0].yanked
    farm.log_build(build(wheel()))  # a build that tries nothing
    file = farm.get_project_data("foo")["releases"]["1.0"]["files"][WHEEL]
    assert (file["installs"], file["imports"], file["trial_why"]) == (None, None, "")
    assert farm.get_project_data("nosuch") is None


def test_quarantine(farm):
    farm.log_build(build(wheel()))
    assert farm.get_project_data("foo")["status"] == "active"
    assert farm.get_quarantined() == []
    farm.set_package_status("foo", "quarantined")
    assert farm.get_project_data("foo")["status"] == "quarantined"
    assert farm.get_quarantined() == ["foo"]
    assert farm.get_simple_index() == []
    farm.set_package_status("foo", "archived")
    assert farm.get_simple_index() == ["foo"]


def test_activity(farm, superuser_dsn):
    farm.log_build(build(wheel()))
    farm.log_build(build(status=False, version="2.0"))
    run(superuser_dsn, "UPDATE builds SET built_at = now() - interval '8 days' WHERE NOT status")
    for days in (0, 0, 29, 31):
        farm.log_download(download(when=NOW - timedelta(days=days)))
    builds, downloads = farm.get_activity()
    assert builds == {"cp39": (1, 0)}
    assert len(downloads) == 30
    dates = [f"{NOW - timedelta(days=days):%Y-%m-%d}" for days in (0, 29)]
    assert {day: number for day, number in downloads.items() if number} == {
        dates[0]: 2,
        dates[1]: 1,
    }
    farm.log_build(build(status=False, version="2.0"))
    assert farm.get_activity().builds == {"cp39": (1, 1)}


def test_libraries_of_the_system_are_not_dependencies(farm, superuser_dsn):
    run(superuser_dsn, "INSERT INTO preinstalled_apt_packages VALUES ('cp39', 'libfoo1')")
    farm.log_build(build(wheel()))
    assert farm.get_simple_project("foo").files[0].apt_dependencies == ["libbar2"]


def run(dsn, statement, *values):
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


WRONG = [
    (build(version="3.0"), "NOVER"),
    (build(package="bar"), "NOVER"),
    (build(abi="cp40"), "NOABI"),
    (build(wheel(), version="2.0"), "FILECONFLICT"),  # another version's file
    (build(wheel(hash_="c" * 64)), "FILECONFLICT"),  # other bytes
    (build(wheel("bar-1.0-cp39-cp39-linux_x86_64.whl")), "FILECONFLICT"),  # another package's
    (build(wheel("foo-1.0-py3-none-any.whl", hash_="?")), "FILECONFLICT"),
    (build(wheel("foo-1.0-py3-none-any.whl", dependencies={"rpm": ["x"]})), "FILECONFLICT"),
]


def test_a_refused_call_changes_nothing(farm):
    known = {farm.log_build(build(wheel()))}
    good = build(status=False, version="2.0")
    for wrong, code in WRONG:
        with pytest.raises(Refused) as info:
            farm.log_build(wrong)
        assert info.value.code == code
        assert str(info.value) != code
        one, two, three = farm.log_builds([good, wrong, good])
        assert isinstance(two, Refused)
        known |= {one, three}
        assert farm.get_all_build_ids() == known
        assert farm.get_package_files("foo") == {WHEEL: "a" * 64}
    assert farm.log_builds([]) == []


def test_the_same_file_moves_to_the_newer_build(farm):
    farm.log_build(build(wheel()))
    before = farm.get_simple_project("foo").files[0]
    newer = farm.log_build(build(wheel(requires_python=None, metadata_hash=None)))
    (file,) = farm.get_simple_project("foo").files
    assert file == before._replace(requires_python=None)
    assert farm.get_project_data("foo")["releases"]["1.0"]["files"][WHEEL]["build_id"] == newer


def test_what_failed_on_a_slave_is_tried_again(farm):
    failed = []
    for version, label in (("1.0", "pi"), ("2.0", "other")):
        one = build(status=False, version=version)
        one.label = label
        failed.append(farm.log_build(one))
    hour_ago, soon = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    assert [farm.count_failed(hour_ago, who) for who in ("pi", "", "nobody")] == [1, 2, 0]
    assert farm.count_failed(soon) == 0
    assert farm.retry_failed(hour_ago, "pi") == ["foo"]
    assert farm.get_all_build_ids() == {failed[1]}
    assert farm.get_logs_gone() == [failed[0]]
    assert [each[1] for each in farm.get_build_queue()["cp39"]] == ["1.0"]
    assert farm.retry_failed(hour_ago) == ["foo"]
    farm.log_build(build(wheel()))
    assert farm.retry_failed(hour_ago) == []


def test_a_failed_build_publishes_nothing(farm):
    farm.log_build(build(wheel(), status=False))
    assert farm.get_package_files("foo") == {}
    assert [row.command for row in farm.load_rewrites_pending()] == ["PROJECT"]


def test_leases(farm):
    soon, later = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
    assert farm.grant_lease("foo", "1.0", CP39, "kitchen", soon)
    assert farm.grant_lease("foo", "1.0", CP39, "attic", soon)
    assert farm.grant_lease("foo", "2.0", CP39, "attic", soon)
    assert not farm.grant_lease("foo", "3.0", CP39, "attic", soon)
    farm.renew_leases([("foo", "1.0", CP39), ("no", "such", CP39)], later)
    farm.renew_leases([], soon)
    leases = farm.get_leases()
    assert {(each.version, each.label, each.expires) for each in leases} == {
        ("1.0", "attic", later),
        ("2.0", "attic", soon),
    }
    farm.release_lease("foo", "2.0", CP39)
    farm.renew_leases([("foo", "1.0", CP39)], NOW - timedelta(days=1))
    assert [each.version for each in farm.get_leases()] == ["1.0"]  # its slave may come back
    farm.renew_leases([("foo", "1.0", CP39)], NOW - timedelta(days=8))
    assert farm.get_leases() == []


def test_rewrites(db):
    db.add_rewrite("foo", "BOTH")
    db.add_rewrite("foo", "PROJECT")
    (first,) = db.load_rewrites_pending()
    assert (first.package, first.command) == ("foo", "BOTH")
    assert db.get_rewrite_note("bar", "BOTH") is None
    assert db.get_rewrite_note("foo", "PROJECT") is None  # does too little
    note = db.get_rewrite_note("foo", "BOTH")
    db.add_rewrite("foo", "PROJECT")
    db.rewrite_done("foo", note)
    assert db.load_rewrites_pending() == [first]  # it was asked for since
    db.rewrite_done("foo", db.get_rewrite_note("foo", "BOTH"))
    assert db.load_rewrites_pending() == []
    db.add_rewrite("foo", "PROJECT")
    last = db.get_rewrite_note("foo", "PROJECT")
    assert db.get_rewrite_note("foo", "BOTH") == last
    assert last > note
    for again in (first, first._replace(command="PROJECT")):
        db.save_rewrites_pending([again])
        db.rewrite_done("foo", last)
        assert db.load_rewrites_pending()[0].command == "BOTH"
    db.rewrite_done("foo", db.get_rewrite_note("foo", "BOTH"))
    assert db.load_rewrites_pending() == []
    queue = [RewritePendingRow(name, NOW, "PROJECT") for name in ("a", "b")]
    db.save_rewrites_pending([*queue, RewritePendingRow("b", NOW + timedelta(1), "BOTH")])
    assert db.load_rewrites_pending() == [queue[0], queue[1]._replace(command="BOTH")]
    db.save_rewrites_pending([])
    assert len(db.load_rewrites_pending()) == 2


@pytest.mark.parametrize("how", ["build", "version", "package", "by hand"])
def test_logs_of_removed_builds_are_listed_for_deletion(farm, superuser_dsn, how):
    number = farm.log_build(build(wheel()))
    farm.add_new_package("bar")
    farm.add_new_package_version("bar", "1.0")
    kept = farm.log_build(build(package="bar", status=False))
    assert [farm.log_waits(each) for each in (number, kept, 99)] == [True, True, False]
    match how:
        case "build":
            farm.delete_build("foo", "1.0")
        case "version":
            farm.delete_version("foo", "1.0")
        case "package":
            farm.delete_package("foo")
        case _:
            administer(superuser_dsn, "DELETE FROM packages WHERE package = 'foo'")
    assert farm.get_logs_gone() == [number]
    assert [farm.log_waits(each) for each in (number, kept)] == [False, True]
    farm.logs_removed([number, kept])
    assert farm.get_logs_gone() == []
    assert farm.get_all_build_ids() == {kept}


def test_downloads_are_counted_by_day_and_month(farm, superuser_dsn):
    farm.log_build(build(wheel()))
    old, ancient = NOW - timedelta(days=40), datetime(1, 1, 1, tzinfo=UTC)
    for when in (NOW - timedelta(seconds=5), old, ancient, datetime(9999, 12, 31, tzinfo=UTC)):
        farm.log_many([download(when=when), download("unknown.whl", when)])
    farm.log_download(download(when=NOW - timedelta(seconds=9), py_version="3.9"))
    farm.log_metadata_download(download(WHEEL + ".metadata"))
    farm.log_many([download(WHEEL + ".metadata"), download(WHEEL + ".metadata")])
    assert farm.get_search_index() == {"foo": (2, 5)}
    statistics = farm.get_statistics()
    assert statistics["downloads_all"] == 5
    assert statistics["downloads_last_month"] == 2
    assert statistics["downloads_last_hour"] == 2
    assert run(superuser_dsn, "SELECT count(*) FROM metadata_downloads") == [(3,)]
    assert run(superuser_dsn, "SELECT count(*) FROM ONLY downloads_default") == [(4,)]
    query = "SELECT count(DISTINCT tableoid) FROM downloads WHERE tableoid::regclass::text LIKE %s"
    months = {f"downloads_{when:%Y_%m}" for when in (NOW - timedelta(seconds=9), old)}
    assert run(superuser_dsn, query, "downloads_20%") == [(len(months),)]


def test_early_rows_move_to_the_partition_of_their_month(farm, superuser_dsn):
    run(
        superuser_dsn,
        "INSERT INTO downloads (filename, accessed_by, accessed_at) VALUES ('x', 'y', %s)",
        NOW,
    )
    farm.log_download(download())
    assert run(superuser_dsn, "SELECT count(*) FROM ONLY downloads_default") == [(0,)]
    assert run(superuser_dsn, "SELECT count(*) FROM downloads") == [(2,)]


ANY = st.text(st.characters(), max_size=40) | st.sampled_from(["\x00" * 9, "\ud800", "x" * 9000])
TIMES = st.datetimes(timezones=st.just(UTC))
ENTRIES = st.one_of(
    st.builds(DownloadState, ANY, ANY, TIMES, *[st.none() | ANY] * 10),
    st.builds(SearchState, ANY, ANY, TIMES, *[st.none() | ANY] * 10),
    st.builds(ProjectState, ANY, ANY, TIMES, ANY),
    st.builds(JSONState, ANY, ANY, TIMES, ANY),
    st.builds(PageState, ANY, ANY, TIMES, ANY),
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(entries=st.lists(ENTRIES, max_size=8))
def test_no_log_entry_can_fail(db, entries):
    db.log_many(entries)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(one=ANY, two=ANY, log=ANY)
def test_no_text_can_break_a_build(db, one, two, log):
    db.add_build_abi("cp39")
    if one:
        db.add_new_package(one, two, two)
        db.add_package_name(one, two)
        db.skip_package(one, two)
    strange = wheel(requires_python=one, dependencies={"apt": [one, two]}, location=two)
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0")
    _, wrong = db.log_builds([build(strange, output=log), build(package=one, version=two)])
    assert isinstance(wrong, Refused)
    assert clean_lines(log, LOG) in {output for _, output in db.get_unwritten_logs(1000)}
    db.delete_build("foo", "1.0")


def test_statistics_have_the_names_of_the_masters(farm):
    farm.log_build(build(wheel()))
    statistics = farm.get_statistics()
    assert set(statistics) < set(MasterStats._fields)
    assert statistics["packages_built"] == 1
    assert statistics["builds_last_hour"] == {"cp39": 1}
    assert statistics["builds_time"] == timedelta(minutes=2)
    assert statistics["builds_size"] == 123
    assert statistics["builds_pending"] == {"cp39": 0, "any": 1}
    assert statistics["files_count"] == 1
    assert statistics["new_last_hour"] == 0
    assert farm.get_initial_statistics() == statistics


# The connection -----------------------------------------------------------------------------------


def test_the_daemons_role_can_only_read_and_call(db_dsn, farm):
    for statement in (
        "DELETE FROM packages",
        "INSERT INTO counters VALUES ('x', '', 1)",
        "CREATE TABLE public.mine ()",
        "SELECT piwheels._refresh_derived()",
        "SELECT piwheels._fold_counters()",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(db_dsn, statement)
    assert run(db_dsn, "SELECT package FROM piwheels.builds_pending LIMIT 1") == [("foo",)]


def test_every_function_that_touches_tables_is_pinned(superuser_dsn):
    query = (
        "SELECT proname FROM pg_proc WHERE pronamespace = 'piwheels'::regnamespace"
        " AND (has_function_privilege('public', oid, 'EXECUTE') OR provolatile <> 'i' AND NOT"
        " (prosecdef AND 'search_path=pg_catalog, piwheels, public, pg_temp' = ANY (proconfig)))"
    )
    assert run(superuser_dsn, query) == []


def test_a_lost_connection_is_restored(farm, superuser_dsn):
    assert farm.test_package("foo")
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'piwheels'"
    run(superuser_dsn, kill + " AND datname = current_database()")
    assert farm.test_package("foo")
    run(superuser_dsn, kill + " AND datname = current_database()")
    with pytest.raises(DatabaseError):  # it may have been noted: nobody knows
        farm.log_build(build())
    assert farm.log_build(build())


def test_a_program_that_is_ending_does_not_wait_for_a_server_that_is_away(db, server_dsn):
    name = db._engine.url.database
    administer(server_dsn, "ALTER DATABASE {} ALLOW_CONNECTIONS false", names=[name])
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    administer(server_dsn, kill, name)
    timer = threading.Timer(0.3, db.abort_retries)
    timer.start()
    started = time.monotonic()
    with pytest.raises(DatabaseError):
        db.test_package("foo")
    assert time.monotonic() - started < patience(5)
    timer.join()


def test_an_unusable_database_is_reported_in_a_sentence(db_dsn, superuser_dsn):
    with pytest.raises(Fatal, match="PostgreSQL, not sqlite"):
        Database("sqlite://")
    with pytest.raises(Fatal, match="not a database URL"):
        Database("nonsense")
    with pytest.raises(Fatal, match="check --dsn"):
        Database("postgresql:///nosuch?host=/nonexistent")
    assert database_url("postgresql://a@b/c").drivername == "postgresql+psycopg2"
    run(superuser_dsn, "UPDATE configuration SET version = '0000+0'")
    with pytest.raises(Fatal, match="run piw-initdb"):
        Database(db_dsn)
    run(superuser_dsn, "DROP TABLE configuration")
    with pytest.raises(Fatal, match="run piw-initdb"):
        Database(db_dsn)


def test_a_statement_that_takes_too_long_is_an_error(db_dsn, farm, superuser_dsn):
    holder = psycopg2.connect(superuser_dsn)
    holder.cursor().execute("LOCK TABLE packages")
    with Database(db_dsn) as db, db._engine.connect() as conn:
        conn.execute(text("SET statement_timeout = 50"))
        conn.commit()
        conn.close()
        started = time.monotonic()
        with pytest.raises(DatabaseError, match="timeout"):
            db.test_package("foo")
        assert time.monotonic() - started < patience(5)
    holder.close()


def ready(listener):
    return bool(select.select([listener.fileno()], [], [], 5)[0])


def test_a_listener_receives_changes_and_survives_a_lost_connection(farm, superuser_dsn):
    with farm.listen() as listener:
        assert not listener.drain()
        descriptor = os.fstat(listener.fileno())
        farm.add_new_package_version("foo", "4.0")
        assert ready(listener)
        assert listener.drain()
        assert not listener.drain()
        farm.set_package_description("foo", "no news")
        assert not select.select([listener], [], [], 0.05)[0]
        run(
            superuser_dsn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%' AND datname = current_database()",
        )
        # The server's last words come first, then the end of the line.
        assert any(ready(listener) and listener.drain() for _ in range(3))
        farm.add_new_package_version("foo", "5.0")
        assert ready(listener)
        assert listener.drain()
        assert os.fstat(listener.fileno()) == descriptor


def test_a_removed_name_never_gets_other_bytes(farm):
    farm.log_build(build(wheel()))
    farm.delete_build("foo", "1.0")
    assert farm.get_published("foo", "1.0") == Published({}, {WHEEL: "a" * 64})
    with pytest.raises(Refused, match="was published with other bytes"):
        farm.log_build(build(wheel(hash_="b" * 64)))
    farm.log_build(build(wheel()))
    farm.delete_package("foo")
    assert farm.get_published("foo", "1.0") == Published({}, {WHEEL: "a" * 64})


def test_a_change_by_hand_keeps_the_first_bytes(farm, superuser_dsn):
    farm.log_build(build(wheel()))
    run(superuser_dsn, "UPDATE files SET filehash = repeat('b', 64)")
    assert farm.get_published("foo", "1.0").retired == {WHEEL: "a" * 64}
