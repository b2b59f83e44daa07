"""CloudGazer follows upstream through all faults, and finishes removals after a crash."""

import json
import logging
import os
import time
from dataclasses import replace
from datetime import timedelta

import pytest

import upstream
from helpers import reject_rows, until
from piwheels.core.database.dsn import administer
from piwheels.core.fetching import Limits
from piwheels.core.host.pip_config import IndexAccess
from piwheels.core.states import BuildState, FileState
from piwheels.core.wheels.tags import canonical
from piwheels.master import cloud_gazer
from piwheels.master.cloud_gazer import CloudGazer
from piwheels.master.logic import releases
from piwheels.master.slave_driver import SlaveDriver
from piwheels.master.the_scribe import TheScribe
from piwheels.master.the_secretary import TheSecretary
from piwheels.master.upstream import watch


@pytest.fixture
def toy():
    with upstream.Toy() as made:
        yield made


@pytest.fixture
def config(toy, with_db, monkeypatch, tmp_path):
    """A configuration for which CloudGazers have short waits, and follow the toy index."""
    monkeypatch.setattr(cloud_gazer, "index_access", lambda: IndexAccess(toy.url + "simple/"))
    monkeypatch.setattr(CloudGazer, "back_off", 0.01)
    monkeypatch.setattr(CloudGazer, "check_interval", 0.05)
    monkeypatch.setattr(CloudGazer, "confirm", 0.2)
    monkeypatch.setattr(CloudGazer, "limits", Limits(0.2, 0.4, 1_000_000, 1_000_000))
    options = {"output_path": tmp_path / "www", "dev_mode": True}
    options |= {"poll_every": timedelta(seconds=0.05), "pypi_simple": toy.url + "simple/"}
    return replace(with_db, **options)


@pytest.fixture
def make(config, secretary, driver):
    """Return a function that makes CloudGazers, whose requests to other tasks have no effect."""
    return lambda source, **more: CloudGazer(replace(config, source=source, **more))


@pytest.fixture
def make_real(config, running):
    """Return a function as *make*; the real tasks carry out the requests."""
    with running(TheScribe(config), TheSecretary(config), SlaveDriver(config)):
        yield lambda source, **more: CloudGazer(replace(config, source=source, **more))


@pytest.fixture
def built(db):
    """Return a function that records a build of foo, with one file."""
    db.add_build_abi("cp311")

    def build(number):
        tags = "foo", number, "py3", "none", "any"
        file = FileState(f"foo-{number}-py3-none-any.whl", 9, number[0] * 64, *tags, None, {})
        ended = True, timedelta(seconds=1), "log"
        db.log_build(BuildState(1, "foo", number, "cp311", *ended, {file.filename: file}))
        db.add_rewrite("foo", "BOTH")

    return build


def versions(db, package="foo"):
    data = db.get_project_data(package)
    return {} if data is None else {name: each["skip"] for name, each in data["releases"].items()}


def published_files(folder, package="foo"):
    try:
        page = json.loads((folder / "www/simple" / package / "index.v1_json").read_text())
    except FileNotFoundError:
        return None
    return [file["filename"] for file in page["files"]]


def test_no_index_is_followed_by_default(with_db, running, caplog):
    caplog.set_level(logging.INFO)
    gazer = CloudGazer(with_db)
    with running(gazer):
        gazer.pause()
        gazer.resume()
        until(lambda: "resumed" in caplog.text)
    assert caplog.text.count("not followed") == 1


@pytest.mark.parametrize("url", ["file:///srv/simple", "index.example", "http://[", "ftp://h/"])
def test_an_unusable_index_address_is_logged(url, make, running, caplog):
    with running(make("watch", pypi_simple=url)):
        until(lambda: "is not followed" in caplog.text)
    assert "--pypi-simple" in caplog.text


# The changelog ------------------------------------------------------------------------------------


def test_the_changelog_survives_all_faults(make, toy, db, running):
    toy.happen("foo", None, "create")
    gazer = make("changelog")
    with running(gazer):
        until(lambda: db.get_pypi_serial() == 101)
        faults = upstream.OF_HTTP | upstream.OF_CHANGELOGS
        for number, (name, fault) in enumerate(faults.items(), 1):
            toy.faults.append(fault)
            toy.happen("foo", f"{number}.0", f"add source file foo-{number}.0.tar.gz")
            until(lambda: not toy.faults and db.get_pypi_serial() == toy.events[-1][4])
            assert gazer.is_alive(), name
            assert len(versions(db)) == number, name
        assert set(versions(db).values()) == {""}


def test_a_new_database_starts_at_the_newest_event(make, toy, db, running):
    for number in range(3):
        toy.happen("foo", f"{number}.0", "new release")
    with running(make("changelog")):
        until(lambda: db.get_pypi_serial() == 103)
        toy.happen("foo", "4.0", "new release")
        until(lambda: versions(db) == {"4.0": "binary only"})


def test_the_whole_changelog_is_processed_with_pypi_serial_0(make, toy, db, running):
    toy.most = 700
    for number in range(2500):
        toy.happen(
            f"p{number % 40}", f"{number}.0", f"add source file x-{number}.tar.gz", gap=number % 3
        )
    toy.happen("late", "1.0", "no such action")
    with running(make("changelog", pypi_serial=0)):
        until(lambda: db.get_pypi_serial() == toy.events[-1][4])
    assert sum(len(versions(db, f"p{number}")) for number in range(40)) == 2500


def test_a_serial_that_decreases_is_followed(make, toy, db, running):
    toy.happen("foo", "1.0", "new release", gap=1000)
    with running(make("changelog", pypi_serial=0)):
        until(lambda: db.get_pypi_serial() == 1100)
        toy.events.clear()
        toy.happen("bar", "1.0", "new release")
        until(lambda: db.get_pypi_serial() == 101)
        toy.happen("bar", "2.0", "new release")
        until(lambda: versions(db, "bar") == {"2.0": "binary only"})
    assert versions(db) == {"1.0": "binary only"}


def test_a_release_that_returns_after_its_removal_is_new(
    make_real, toy, db, *, built, running, tmp_path
):
    toy.happen("Foo", None, "create")
    toy.happen("foo", "1.0", "add source file foo-1.0.tar.gz")
    toy.happen("foo", "2.0", "add source file foo-2.0.tar.gz")
    with running(make_real("changelog", pypi_serial=0)):
        until(lambda: versions(db) == {"1.0": "", "2.0": ""})
        built("1.0")
        built("2.0")
        toy.happen("foo", "1.0", "yank release")
        until(lambda: len(published_files(tmp_path) or ()) == 2)
        toy.happen("foo", "2.0", "remove release")
        toy.happen("foo", "2.0", "add source file foo-2.0.zip")
        until(lambda: published_files(tmp_path) == ["foo-1.0-py3-none-any.whl"])
        until(lambda: versions(db) == {"1.0": "", "2.0": ""})
        toy.happen("foo", None, "remove project")
        toy.happen("foo", None, "create")
        toy.happen("foo", "3.0", "add py3 file foo-3.0-py3-none-any.whl")
        until(lambda: versions(db) == {"3.0": "binary only"})
        until(lambda: not published_files(tmp_path))
    assert db.get_deletions() == []


def test_a_pause_takes_effect_between_two_slices(make, toy, db, *, running, caplog):
    caplog.set_level(logging.INFO)
    toy.most = 200
    for number in range(4000):
        toy.happen(f"p{number % 1000}", f"{number}.0", "new release")
    gazer = make("changelog", pypi_serial=0)
    with running(gazer):
        until(lambda: db.get_pypi_serial() > 0)
        gazer.pause()
        until(lambda: "paused" in caplog.text)
        reached = db.get_pypi_serial()
        assert reached < 4100
        time.sleep(0.2)
        assert db.get_pypi_serial() == reached
        gazer.resume()
        until(lambda: db.get_pypi_serial() == 4100)


def test_a_lost_database_connection_loses_no_event(make, toy, db, *, running, superuser_dsn):
    toy.most = 200
    for number in range(2000):
        toy.happen(f"p{number % 50}", f"{number}.0", "new release")
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"  # noqa: S608
    with running(make("changelog", pypi_serial=0)):
        for reached in (1, 600, 1200):
            until(lambda: db.get_pypi_serial() > reached)  # noqa: B023
            administer(superuser_dsn, end)
        until(lambda: db.get_pypi_serial() == 2100)
    assert sum(len(versions(db, f"p{number}")) for number in range(50)) == 2000


@pytest.mark.parametrize("kind", ["project", "release"])
def test_a_quarantined_release_is_not_published_until_it_is_cleared(
    kind, make_real, toy, db, *, built, running, tmp_path
):
    toy.happen("foo", "1.0", "add source file foo-1.0.tar.gz")
    toy.happen("foo", "2.0", "add source file foo-2.0.tar.gz")
    which = None if kind == "project" else "1.0.0"  # upstream's spelling may change
    with running(make_real("changelog", pypi_serial=0)):
        until(lambda: len(versions(db)) == 2)
        built("1.0")
        toy.happen("foo", "2.0", "yank release")
        until(lambda: published_files(tmp_path))
        toy.happen("foo", which, f"{kind} quarantined")
        until(lambda: not published_files(tmp_path))
        assert db.get_build_queue()["cp311"] == ([] if kind == "project" else [("foo", "2.0")])
        release = db.get_project_data("foo")["releases"]["1.0"]
        assert (release["quarantined"], release["files"]) == (kind == "release", {})
        toy.happen("foo", which, f"{kind} quarantine cleared")
        until(lambda: published_files(tmp_path))
    assert db.get_build_queue()["cp311"] == [("foo", "2.0")]


def test_removals_that_a_crash_interrupted_finish_at_start(make, toy, db, running):
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0", skip="deleted")
    db.add_new_package_version("foo", "2.0")
    db.add_new_package("bar", skip="deleted")
    with running(make("none")):
        until(lambda: db.get_deletions() == [])
    assert db.get_all_packages() == {"foo"}
    assert versions(db) == {"2.0": ""}


def test_quit_ends_cloud_gazer_during_a_request(make, toy, running, monkeypatch):
    monkeypatch.setattr(CloudGazer, "limits", Limits(60, 60))
    toy.faults.append(upstream.hang)
    with running(make("changelog")):
        until(lambda: toy.asked)


# Watched projects ---------------------------------------------------------------------------------


def test_watching_survives_all_faults(make, toy, db, running):
    db.watch_package("demo")
    toy.release("demo", "0.1")
    gazer = make("watch")
    with running(gazer):
        until(lambda: versions(db, "demo") == {"0.1": ""})
        faults = upstream.OF_HTTP | upstream.OF_PAGES
        for number, (name, fault) in enumerate(faults.items(), 1):
            toy.faults.append(fault)
            toy.release("demo", f"{number}.0")
            until(lambda: not toy.faults and f"{number}.0" in versions(db, "demo"))  # noqa: B023
            assert gazer.is_alive(), name
        assert len(versions(db, "demo")) == len(faults) + 1
        assert set(versions(db, "demo").values()) == {""}


def test_a_project_is_followed_from_its_newest_release(make, toy, db, running):
    db.add_build_abi("cp311")
    for version in ("0.9", "1.0", "2.0a1", "0.8"):
        toy.release("demo", version, when=1_000_000_000)
    toy.release("demo", "3.0", kinds=["whl"])
    db.watch_package("demo")
    with running(make("watch")):
        until(lambda: db.get_build_queue()["cp311"] == [("demo", "1.0")])
        toy.release("demo", "0.9.1")
        toy.release("demo", "3.0", kinds=["zip"])
        until(lambda: set(versions(db, "demo")) == {"1.0", "0.9.1", "3.0"})
        db.delete_version("demo", "1.0")  # as an operator would
        toy.release("demo", "4.0")
        until(lambda: set(versions(db, "demo")) == {"0.9.1", "3.0", "4.0"})


def test_yanks_and_status_are_set_and_withdrawn(make, toy, db, running):
    toy.release("demo", "1.0")
    db.watch_package("demo")
    project = lambda: db.get_simple_project("demo")  # noqa: E731
    release = lambda: db.get_project_data("demo")["releases"]["1.0"]  # noqa: E731
    with running(make("watch")):
        until(project)
        toy.projects["demo"]["files"][0]["yanked"] = "it is bad"
        until(lambda: release()["yanked"])
        assert release()["yank_reason"] == "it is bad"
        toy.projects["demo"]["files"][0]["yanked"] = False
        until(lambda: not release()["yanked"])
        for status in ("archived", "deprecated"):
            toy.projects["demo"]["status"] = status
            until(lambda: project().status == status)  # noqa: B023
        files = toy.projects["demo"]["files"]
        toy.projects["demo"] = {"status": "quarantined", "files": []}
        until(lambda: db.get_version_skip("demo", "1.0") == "quarantined")
        asked = len(toy.asked)
        until(
            lambda: len(toy.asked) > asked + 10
        )  # an empty page is not a removal while the project is in quarantine
        toy.projects["demo"] = {"status": "active", "files": files}
        until(lambda: db.get_version_skip("demo", "1.0") == "")


def test_a_release_that_stays_missing_is_removed(make, toy, db, running):
    for name in ("a", "b", "demo"):
        toy.release(name, "1.0", when=1_000_000_000)
        db.watch_package(name)
    db.add_new_package("demo")
    db.add_new_package_version("demo", "0.1")  # added by an operator
    with running(make("watch")):
        until(lambda: db.get_all_packages() == {"a", "b", "demo"})
        toy.release("demo", "2.0")
        until(lambda: len(versions(db, "demo")) == 3)
        toy.drop("demo", "1.0")
        until(lambda: set(versions(db, "demo")) == {"0.1", "2.0"})
        gone = toy.projects.pop("demo")
        until(lambda: db.get_all_packages() == {"a", "b"})
        toy.projects["demo"] = gone
        until(lambda: versions(db, "demo") == {"2.0": ""})


def test_the_release_before_a_withdrawn_or_yanked_one_is_built(make, toy, db, running):
    db.add_build_abi("cp311")
    for version in ("1.0", "1.1", "1.2"):
        toy.release("demo", version, when=1_000_000_000)
    db.watch_package("demo")
    with running(make("watch")):
        until(lambda: set(versions(db, "demo")) == {"1.2"})
        toy.drop("demo", "1.2")
        until(lambda: set(versions(db, "demo")) == {"1.1"})
        for each in toy.projects["demo"]["files"]:
            each["yanked"] = "1.1" in each["filename"]
        until(lambda: set(versions(db, "demo")) == {"1.0", "1.1"})
        assert ("demo", "1.0") in db.get_build_queue()["cp311"]


def test_a_version_that_was_added_alone_gets_its_yank_and_its_date(make, toy, db, running):
    toy.release("demo", "1.0", when=1_000_000_000)
    toy.release("demo", "2.0", when=1_000_000_001)
    toy.projects["demo"]["files"][0]["yanked"] = "it is bad"
    db.add_new_package("demo")
    release = lambda number: db.get_project_data("demo")["releases"][number]  # noqa: E731
    with running(make("watch")):
        db.add_new_package_version("demo", "1.0")
        until(lambda: release("1.0")["yanked"])
        assert release("1.0")["yank_reason"] == "it is bad"
        assert release("1.0")["released"].timestamp() == 1_000_000_000
        db.add_new_package_version("demo", "2.0")
        until(lambda: release("2.0")["released"].timestamp() == 1_000_000_001)
        db.delete_version("demo", "2.0")
        toy.projects["demo"]["files"][0]["yanked"] = False
        until(lambda: not release("1.0")["yanked"])
        assert set(versions(db, "demo")) == {"1.0"}
        db.watch_package("demo")
        until(lambda: set(versions(db, "demo")) == {"1.0", "2.0"})


def test_an_empty_index_removes_nothing(make, toy, db, running, caplog):
    for name in ("a", "b", "c"):
        toy.release(name, "1.0")
        db.watch_package(name)
    with running(make("watch")):
        until(lambda: len(db.get_all_packages()) == 3)
        toy.projects.clear()
        until(lambda: "none is removed while so many are missing" in caplog.text)
    assert len(db.get_all_packages()) == 3


@pytest.mark.parametrize("how", ["etags", "serials"])
def test_an_unchanged_page_is_not_read_again(how, make, toy, db, running):
    setattr(toy, how, 7)
    toy.release("demo", "1.0")
    db.watch_package("demo")
    with running(make("watch")):
        until(lambda: versions(db, "demo"))
        until(lambda: db.get_watched()[0].etag or db.get_watched()[0].serial)
        db.delete_version("demo", "1.0")
        toy.release("demo", "2.0", when=1_000_000_000)
        setattr(toy, how, 8)
        until(lambda: len(toy.asked) > 20)
    known = db.get_watched()[0]
    assert known.etag if how == "etags" else known.serial == 8
    assert versions(db, "demo") == {}


def test_projects_of_an_unchanged_index_are_not_requested(make, toy, db, running, monkeypatch):
    monkeypatch.setattr(watch, "IDLE", 1_000_000)
    toy.root_serial = 5
    toy.release("demo", "1.0")
    db.watch_package("demo")
    projects = lambda: [r.path for r in toy.asked if r.path == "/simple/demo/"]  # noqa: E731
    with running(make("watch")):
        until(lambda: versions(db, "demo"))
        until(lambda: sum(r.method == "HEAD" for r in toy.asked) > 2)
        seen = len(projects())
        toy.release("demo", "2.0")
        asked = len(toy.asked)
        until(lambda: len(toy.asked) > asked + 1)
        assert len(projects()) <= seen + 1
        toy.root_serial = 6
        until(lambda: "2.0" in versions(db, "demo"))
        toy.release("demo", "3.0")
        monkeypatch.setattr(watch, "IDLE", 3)  # the root's serial is not trusted forever
        until(lambda: "3.0" in versions(db, "demo"))


ONE_PAGE = {
    "it asks for an hour": upstream.says(b"", "503 Service Unavailable", Retry_After="3600"),
    "it asks for a second": upstream.says(b"", "429 Too Many Requests", Retry_After="1"),
    "it redirects in a loop": lambda _, connection, request: connection.sendall(
        upstream.answer(b"", "302 Found", Location=request.path)
    ),
    "it says nothing": upstream.hang,
}


@pytest.mark.parametrize("fault", ONE_PAGE)
def test_one_bad_page_does_not_hold_back_others(fault, make, toy, db, running):
    class Faults:
        """The fault of the page *bad*, however often it is requested."""

        def __bool__(self):
            return toy.asked[-1].path == "/simple/bad/"

        def popleft(self):
            return ONE_PAGE[fault]

    toy.faults = Faults()
    for name in ("bad", "a"):
        toy.release(name, "1.0")
        db.watch_package(name)
    with running(make("watch")):
        until(lambda: "1.0" in versions(db, "a"))
        until(lambda: any(request.path == "/simple/bad/" for request in toy.asked))
        for number in range(2, 6):
            toy.release("a", f"{number}.0")
            until(lambda number=number: f"{number}.0" in versions(db, "a"), 5)


def test_retry_after_is_obeyed(make, toy, db, running):
    answer = upstream.says(b"", "429 Too Many Requests", Retry_After="1")
    toy.faults += [answer] * watch.INDEX_FAULTS
    for name in ("a", "b", "c"):
        toy.release(name, "1.0")
        db.watch_package(name)
    began = time.monotonic()
    with running(make("watch")):
        until(lambda: not toy.faults)
        time.sleep(0.1)  # requests in flight
        asked = len(toy.asked)
        until(lambda: len([r for r in toy.asked[asked:] if r.method == "GET"]) > 0)
        assert time.monotonic() - began > 0.9
        until(lambda: len(db.get_all_packages()) == 3)


def test_versions_that_are_left_out_are_logged_once(make, toy, db, running, caplog):
    for version in ("1.0", f"3.{'14' * 100}", "2004d"):
        toy.release("demo", version)
    db.watch_package("demo")
    with running(make("watch")):
        until(lambda: "1.0" in versions(db, "demo"))
        toy.release("demo", "2.0")
        until(lambda: "2.0" in versions(db, "demo"))
    (logged,) = [r.message for r in caplog.records if "ignored" in r.message]
    assert logged.startswith("demo: ignored 2 files")
    assert "demo-2004d.tar.gz" in logged
    assert "demo-3.1414" in logged


def test_the_watch_file_is_read_again_when_it_changes(make, toy, db, *, running, tmp_path, caplog):
    names = tmp_path / "names"
    for name in ("a", "b", "c"):
        toy.release(name, "1.0")
    names.write_bytes(b"# ours\nA\n  b  # too\n\nno name!\n\xff\n")
    with running(make("watch", watch_file=names)):
        until(lambda: db.get_all_packages() == {"a", "b"})
        names.write_text("c\n" + "?\n" * 25)
        until(lambda: db.get_all_packages() == {"a", "b", "c"})
        until(lambda: [row.package for row in db.get_watched()] == ["c"])
        names.unlink()
        os.mkfifo(names)
        until(lambda: "(it is not a file): its projects are still watched" in caplog.text)
        names.unlink()
        until(lambda: "(No such file or directory): its projects are still watched" in caplog.text)
    assert [row.package for row in db.get_watched()] == ["c"]
    assert ": 5 more lines are invalid" in caplog.text
    assert "line 5: 'no name!' is not the name of a project" in caplog.text


def test_a_failing_index_is_logged_rarely_and_requested_less(make, toy, db, running, caplog):
    caplog.set_level(logging.INFO)
    for number in range(20):
        toy.release(f"p{number}", "1.0")
        db.watch_package(f"p{number}")
    toy.faults += [upstream.says(b"", "500 Oops")] * 6
    with running(make("watch")):
        until(lambda: len(db.get_all_packages()) == 20)
    logged = [record.message for record in caplog.records if "500" in record.message]
    assert len(logged) <= 4
    assert "the index answers again" in caplog.text


@pytest.mark.parametrize("source", ["changelog", "watch"])
def test_a_row_that_the_database_rejects_stops_no_other(
    source, make, toy, db, *, running, superuser_dsn, caplog
):
    reject_rows(superuser_dsn, "versions", "version <> '6.6'")
    reject_rows(superuser_dsn, "watched", "newest <> '7.7'")

    def release(name, number):
        toy.release(name, number)
        toy.happen(name, number, f"add source file {name}-{number}.tar.gz")

    for name, number in [("a", "6.6"), ("b", "7.7"), ("c", "1.0")]:
        release(name, number)
        db.watch_package(name)
    with running(make(source, pypi_serial=0)):
        until(lambda: "1.0" in versions(db, "c"))
        release("a", "8.0")
        release("c", "2.0")
        until(lambda: "8.0" in versions(db, "a") and "2.0" in versions(db, "c"), 10)
    assert "6.6" not in versions(db, "a")
    assert "left out what the database rejects" in caplog.text


@pytest.mark.parametrize("where", ["parse", "judge"])
def test_a_bug_at_one_page_stops_no_other(where, make, toy, db, *, running, monkeypatch, caplog):
    module = releases if where == "parse" else watch
    real = getattr(module, where)

    def buggy(*args):
        if "bad" in (args[1], getattr(args[0], "package", "")):
            raise AttributeError("a bug")
        return real(*args)

    monkeypatch.setattr(module, where, buggy)
    for name in ("bad", "good"):
        toy.release(name, "1.0")
        db.watch_package(name)
    with running(make("watch")):
        until(lambda: "1.0" in versions(db, "good"))
        until(lambda: "the page of bad has failed: AttributeError: a bug" in caplog.text)
        toy.release("good", "2.0")
        until(lambda: "2.0" in versions(db, "good"), 5)


def test_a_bug_at_one_entry_stops_no_other(make, toy, db, *, running, monkeypatch, caplog):
    def buggy(name):
        if name == "bad":
            raise RuntimeError("a bug")
        return canonical(name)

    monkeypatch.setattr("piwheels.master.logic.changelog.canonical", buggy)
    for name in ("a", "bad", "b"):
        toy.happen(name, "1.0", f"add source file {name}-1.0.tar.gz")
    with running(make("changelog", pypi_serial=0)):
        until(lambda: versions(db, "a") and versions(db, "b"))
    assert "ignored an entry of the changelog: 'bad'" in caplog.text
