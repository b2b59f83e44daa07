"""MrChase carries out requests of admin tools, gives reasons for errors, and survives the rest."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import patience, until
from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.database.rows import UpstreamVersion
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.errors import DatabaseError
from piwheels.core.protocols import mr_chase as protocol
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.states import Attempt, BuildState, Retry
from piwheels.core.targets import Target
from piwheels.core.transport import Context
from piwheels.master import mr_chase
from piwheels.master.messages import (
    Ability,
    DeletePackage,
    DeleteVersion,
    PagesNoted,
    RefreshHome,
    RewritePages,
    WriteRoot,
    WriteSearch,
)
from piwheels.master.mr_chase import MrChase

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def ask(with_db, secretary, driver, running, request):
    """Return a function that sends MrChase a request and returns the answer; all he needs runs.

    The master follows selected projects, or has the ``--source`` that is the parameter.
    """
    source = getattr(request, "param", "watch")
    with (
        running(MrChase(replace(with_db, source=source))),
        Context().socket(zmq.REQ, reversed(protocol)) as socket,
    ):
        socket.connect(with_db.import_queue)

        def send(msg, *data):
            is_single = msg.endswith("WATCH") or msg in ("CURE", "RECIPES")
            fields = data[0] if is_single else list(data)
            socket.send_msg(msg, fields if data else NoData)
            assert socket.poll(patience(10)), "no answer"
            return socket.recv_msg()

        yield send


@pytest.fixture
def add(ask):
    """Register the package ``foo`` with version ``1.0``."""
    assert addpkg(ask) == ("DONE", "NEWPKG")
    assert addver(ask) == ("DONE", "NEWVER")


def addpkg(ask, package="foo", *, description="", skip="", unskip=False, aliases=()):
    return ask("ADDPKG", package, description, skip, unskip, list(aliases))


def addver(
    ask,
    package="foo",
    version="1.0",
    *,
    skip="",
    unskip=False,
    yank=False,
    unyank=False,
    aliases=(),
):
    return ask("ADDVER", package, version, skip, unskip, NOW, yank, unyank, list(aliases))


def refused(reply, *words):
    msg, why = reply
    assert msg == "ERROR"
    assert all(word in why for word in words), why
    return True


# ADDPKG ---------------------------------------------------------------------------------------


def test_a_package_is_registered_under_its_canonical_name(ask, db, secretary):
    aliases = ["Markup.Safe", "markupsafe"]
    assert addpkg(ask, "MarkupSafe", description="Strings", aliases=aliases) == ("DONE", "NEWPKG")
    assert db.get_all_packages() == {"markupsafe"}
    assert db.get_package_aliases("markupsafe") == ["Markup.Safe", "MarkupSafe"]
    assert db.get_project_data("markupsafe")["description"] == "Strings"
    assert secretary.asked == [RewritePages("BOTH", "markupsafe")]


def test_a_package_is_updated(ask, db):
    assert addpkg(ask, description="one", skip="why not") == ("DONE", "NEWPKG")
    assert db.get_project_data("foo")["skip"] == "why not"
    assert addpkg(ask, description="two") == ("DONE", "UPDPKG")
    assert db.get_project_data("foo")["skip"] == "why not"
    assert addpkg(ask, unskip=True) == ("DONE", "UPDPKG")
    data = db.get_project_data("foo")
    assert (data["description"], data["skip"]) == ("two", "")
    assert addpkg(ask, skip="another") == ("DONE", "SKIPPKG")
    assert db.get_project_data("foo")["skip"] == "another"


def test_an_invalid_package_is_refused(ask, db):
    assert refused(addpkg(ask, skip="x", unskip=True), "skip and unskip exclude")
    assert addpkg(ask, "bar") == ("DONE", "NEWPKG")
    assert refused(addpkg(ask, aliases=["Bar"]), "Bar is the name of another package")
    assert refused(addpkg(ask, aliases=[f"a{n}" for n in range(101)]), "100 other names")
    assert db.get_all_packages() == {"bar"}


# ADDVER ---------------------------------------------------------------------------------------


def test_a_registered_version_is_queued_for_building(ask, db, secretary):
    db.add_build_abi("cp311")
    addpkg(ask)
    assert addver(ask, "Foo", "1.0rc1", aliases=["FOO"]) == ("DONE", "NEWVER")
    assert db.get_build_queue() == {"cp311": [("foo", "1.0rc1")]}
    assert db.get_package_aliases("foo") == ["FOO", "Foo"]
    assert db.get_project_data("foo")["releases"]["1.0rc1"]["released"] == NOW
    assert secretary.asked == [RewritePages("BOTH", "foo")] * 2


def test_a_version_is_registered_as_skipped_or_yanked(ask, db):
    addpkg(ask)
    assert addver(ask, skip="why not") == ("DONE", "NEWVER")
    assert addver(ask, version="2.0", yank=True) == ("DONE", "NEWVER")
    releases = db.get_project_data("foo")["releases"]
    assert (releases["1.0"]["skip"], releases["1.0"]["yanked"]) == ("why not", False)
    assert (releases["2.0"]["skip"], releases["2.0"]["yanked"]) == ("", True)


@pytest.mark.parametrize(
    ("change", "done", "skip", "yanked"),
    [
        ({}, "UPDVER", "old", True),
        ({"skip": "new"}, "SKIPVER", "new", True),
        ({"unskip": True}, "UPDVER", "", True),
        ({"yank": True}, "YANKVER", "old", True),
        ({"unyank": True}, "UPDVER", "old", False),
        ({"unskip": True, "yank": True}, "YANKVER", "", True),
        ({"skip": "new", "unyank": True}, "SKIPVER", "new", False),
        ({"unskip": True, "unyank": True}, "UPDVER", "", False),
        ({"skip": "new", "yank": True}, "SKIPVER", "new", True),
    ],
)
def test_a_version_is_updated(ask, db, *, change, done, skip, yanked):
    addpkg(ask)
    addver(ask, skip="old", yank=True)
    assert addver(ask, **change) == ("DONE", done)
    release = db.get_project_data("foo")["releases"]["1.0"]
    assert (release["skip"], release["yanked"]) == (skip, yanked)


def test_an_invalid_version_is_refused(ask, db):
    assert addver(ask) == ("ERROR", "NOPKG")
    addpkg(ask)
    assert refused(addver(ask, version="not.a.version"), "not.a.version", "PEP 440")
    assert refused(addver(ask, skip="x", unskip=True), "skip and unskip")
    assert refused(addver(ask, yank=True, unyank=True), "yank and unyank")
    assert db.get_project_data("foo")["releases"] == {}


# REMPKG, REMVER -------------------------------------------------------------------------------


@pytest.mark.usefixtures("add")
def test_a_package_is_removed_everywhere(ask, db, secretary, driver):
    assert ask("REMPKG", "Foo", False, "") == ("DONE", "DELPKG")
    assert db.get_all_packages() == set()
    assert driver.asked == [DeletePackage("foo")]
    assert secretary.asked[-1] == DeletePackage("foo")
    assert ask("REMPKG", "foo", False, "") == ("ERROR", "NOPKG")


@pytest.mark.usefixtures("secretary", "driver")
@pytest.mark.parametrize("builds", [False, True])
def test_nothing_is_removed_while_the_farm_is_paused(with_db, db, running, *, builds):
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0")
    task = MrChase(with_db)
    with running(task), Context().socket(zmq.REQ, reversed(protocol)) as socket:
        socket.connect(with_db.import_queue)

        def ask(msg, *data):
            socket.send_msg(msg, list(data))
            assert socket.poll(patience(10)), "no answer"
            return socket.recv_msg()

        task.pause()
        until(lambda: task.paused)
        for request in (("REMPKG", "foo", builds, ""), ("REMVER", "foo", "1.0", builds, "", False)):
            answer, why = ask(*request)
            assert answer == "ERROR"
            assert "resume it first" in why
        assert ask("REMVER", "foo", "1.0", False, "because", False) == ("DONE", "SKIPVER")
        assert set(db.get_project_data("foo")["releases"]) == {"1.0"}
        task.resume()
        until(lambda: not task.paused)
        assert ask("REMPKG", "foo", False, "") == ("DONE", "DELPKG")


@pytest.mark.usefixtures("add")
def test_a_package_is_skipped(ask, db, secretary, driver):
    assert ask("REMPKG", "foo", False, "because") == ("DONE", "SKIPPKG")
    assert db.get_project_data("foo")["skip"] == "because"
    assert driver.asked == []


@pytest.mark.usefixtures("add")
@pytest.mark.parametrize("skip", ["", "because"])
def test_a_packages_builds_are_removed(ask, db, secretary, *, build_of, skip):
    db.add_build_abi("cp311")
    addver(ask, version="2.0")
    db.log_build(build_of("foo", "1.0", "none"))
    db.log_build(build_of("foo", "2.0", "none"))
    assert ask("REMPKG", "foo", True, skip) == ("DONE", "DELPKGBLD")
    assert db.get_package_files("foo") == {}
    data = db.get_project_data("foo")
    assert (data["skip"], set(data["releases"])) == (skip, {"1.0", "2.0"})
    assert len(db.get_build_queue()["cp311"]) == (0 if skip else 2)
    assert secretary.asked[-2:] == [DeletePackage("foo"), PagesNoted("URGENT", "foo")]
    assert [row[::2] for row in db.load_rewrites_pending()] == [("foo", "BOTH")]


@pytest.mark.usefixtures("add")
def test_a_version_is_removed_everywhere(ask, db, secretary, driver):
    assert ask("REMVER", "Foo", "1.0", False, "", False) == ("DONE", "DELVER")
    assert db.get_project_data("foo")["releases"] == {}
    assert driver.asked == [DeleteVersion("foo", "1.0")]
    assert secretary.asked[-2:] == [DeleteVersion("foo", "1.0"), RewritePages("BOTH", "foo")]
    assert ask("REMVER", "foo", "1.0", False, "", False) == ("ERROR", "NOVER")
    assert ask("REMVER", "bar", "1.0", False, "", False) == ("ERROR", "NOPKG")


@pytest.mark.usefixtures("add")
def test_a_version_in_another_spelling_is_the_same_version(ask, db):
    for version in ("1.0.0", "v1.0"):
        assert addver(ask, version=version, skip="why not") == ("DONE", "SKIPVER")
    assert db.get_project_data("foo")["releases"].keys() == {"1.0"}
    assert ask("REMVER", "foo", "1", False, "", False) == ("DONE", "DELVER")
    assert db.get_project_data("foo")["releases"] == {}


@pytest.mark.usefixtures("add")
def test_a_yank_by_hand_has_a_reason(ask, db):
    release = lambda: db.get_project_data("foo")["releases"]["1.0"]  # noqa: E731
    db.follow_upstream([], [UpstreamVersion("foo", "1.0", yanked=True, yank_reason="theirs")])
    assert (release()["yank_reason"], release()["yanked_upstream"]) == ("theirs", True)
    assert ask("REMVER", "foo", "1.0", False, "", True, "ours") == ("DONE", "YANKVER")
    assert (release()["yank_reason"], release()["yanked_upstream"]) == ("ours", False)
    db.follow_upstream([], [UpstreamVersion("foo", "1.0", yanked=False)])
    assert release()["yanked"], "upstream does not undo an operator's yank"
    again = ask("ADDVER", "foo", "1.0", "", False, NOW, True, False, [], "again ours")
    assert again == ("DONE", "YANKVER")
    assert release()["yank_reason"] == "again ours"


@pytest.mark.usefixtures("add")
@pytest.mark.parametrize(
    ("builds", "skip", "yank", "done"),
    [
        (False, "because", False, "SKIPVER"),
        (False, "", True, "YANKVER"),
        (False, "because", True, "YANKVER"),
        (True, "", False, "DELVERBLD"),
        (True, "because", False, "DELVERBLD"),
        (True, "because", True, "DELVERBLD"),
    ],
)
def test_a_versions_builds_can_be_removed_without_the_version(
    ask, db, build_of, *, builds, skip, yank, done
):
    db.add_build_abi("cp311")
    db.log_build(build_of("foo", "1.0", "none"))
    assert ask("REMVER", "foo", "1.0", builds, skip, yank) == ("DONE", done)
    release = db.get_project_data("foo")["releases"]["1.0"]
    assert (release["skip"], release["yanked"]) == (skip, yank)
    assert bool(release["files"]) is not builds
    assert db.get_build_queue()["cp311"] == ([("foo", "1.0")] if builds and not skip else [])


@pytest.mark.usefixtures("add")
def test_a_version_marked_as_deleted_can_be_removed_or_restored(ask, db):
    db.skip_package_version("foo", "1.0", "deleted")
    assert ask("REMVER", "foo", "1.0", True, "", False) == ("ERROR", "SKIPVER")
    assert ask("REMVER", "foo", "1.0", False, "", True) == ("ERROR", "SKIPVER")
    assert ask("REMVER", "foo", "2.0", False, "", True) == ("ERROR", "NOVER")
    assert addver(ask, unskip=True) == ("DONE", "UPDVER")
    assert db.get_project_data("foo")["releases"]["1.0"]["skip"] == ""
    db.skip_package_version("foo", "1.0", "deleted")
    assert ask("REMVER", "foo", "1.0", False, "", False) == ("DONE", "DELVER")
    assert not db.test_package_version("foo", "1.0")
    db.skip_package("foo", "deleted")
    assert ask("REMPKG", "foo", False, "because") == ("ERROR", "SKIPPKG")
    assert ask("REMVER", "foo", "1.0", True, "", False) == ("ERROR", "SKIPPKG")
    assert ask("REMPKG", "foo", False, "") == ("DONE", "DELPKG")
    assert not db.test_package("foo")


@pytest.mark.usefixtures("add")
def test_an_interrupted_removal_can_be_repeated(ask, db, secretary):
    secretary.error = DatabaseError("the disk is full")
    assert refused(ask("REMVER", "foo", "1.0", True, "", False), "the disk is full")
    assert db.get_version_skip("foo", "1.0") == "its builds are being removed"
    assert db.get_project_data("foo")["releases"]["1.0"]["skip"] == ""
    secretary.error = None
    assert ask("REMVER", "foo", "1.0", True, "", False) == ("DONE", "DELVERBLD")
    assert db.get_version_skip("foo", "1.0") == ""


@pytest.mark.usefixtures("add")
def test_failed_builds_are_counted_and_repeated(ask, db, secretary):
    db.add_build_abi("cp311")
    failed = BuildState(1, "foo", "1.0", "cp311", False, timedelta(seconds=1), "log\n")
    db.log_build(failed)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert ask("RETRY", hour_ago, "nobody", False) == ("DONE", "0")
    assert ask("RETRY", hour_ago, "", True) == ("DONE", "1")
    assert db.get_build_queue() == {"cp311": []}
    assert ask("RETRY", hour_ago, "", False) == ("DONE", "1")
    assert db.get_build_queue() == {"cp311": [("foo", "1.0")]}
    assert secretary.asked[-1] == RewritePages("PROJECT", "foo")


# REBUILD --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("add")
def test_pages_are_rebuilt(ask, with_db, db, *, secretary, other_end, monkeypatch):
    monkeypatch.setattr(mr_chase, "WINDOW", 10)
    stats = other_end(with_db, "stats")
    for number in range(30):
        db.add_new_package(f"p{number:02}")
    secretary.asked.clear()
    assert ask("REBUILD", "HOME") == ("DONE", "REBUILD")
    assert stats.take() == RefreshHome()
    assert ask("REBUILD", "SEARCH") == ("DONE", "REBUILD")
    assert ask("REBUILD", "PROJECT", "Foo") == ("DONE", "REBUILD")
    assert ask("REBUILD", "BOTH", "foo") == ("DONE", "REBUILD")
    assert ask("REBUILD", "BOTH", "unknown") == ("ERROR", "NOPKG")
    assert secretary.asked == [
        WriteSearch(),
        WriteRoot(),
        RewritePages("PROJECT", "foo"),
        RewritePages("BOTH", "foo"),
    ]
    secretary.asked.clear()
    assert ask("REBUILD", "BOTH", None) == ("DONE", "REBUILD")
    assert secretary.asked == [RewritePages("BOTH", name) for name in sorted(db.get_all_packages())]


@pytest.mark.usefixtures("add")
def test_an_unwritable_site_is_reported(ask, secretary):
    secretary.error = DatabaseError("the disk is full")
    assert refused(ask("REBUILD", "PROJECT", None), "the disk is full")
    assert refused(ask("REBUILD", "PROJECT", "foo"), "the disk is full")
    secretary.error = None
    assert ask("REBUILD", "PROJECT", None) == ("DONE", "REBUILD")


# WATCH, UNWATCH -------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["none"], indirect=True)
def test_a_master_that_follows_no_index_refuses_to_watch(ask, db):
    assert refused(ask("WATCH", "Foo.Bar"), "nothing would follow foo-bar", "--source watch")
    assert db.get_watched() == []


def test_a_project_is_watched_until_unwatch(ask, db):
    assert ask("UNWATCH", "Foo.Bar") == ("ERROR", "NOPKG")
    watch = ask("WATCH", "Foo.Bar")
    assert watch == ("DONE", "WATCH")
    assert [row.package for row in db.get_watched()] == ["foo-bar"]
    assert ask("UNWATCH", "foo_bar") == ("DONE", "UNWATCH")
    assert db.get_watched() == []


@pytest.mark.usefixtures("add")
@pytest.mark.parametrize("listed", [True, False])
def test_a_removed_package_is_watched_only_if_a_file_lists_it(ask, db, listed):
    assert ask("WATCH", "foo") == ("DONE", "WATCH")
    if listed:
        db.watch_listed(["foo"])
    assert ask("REMPKG", "foo", True, "") == ("DONE", "DELPKGBLD")
    assert [row.package for row in db.get_watched()] == ["foo"]
    assert ask("REMPKG", "foo", False, "") == ("DONE", "DELPKG")
    assert [row.package for row in db.get_watched()] == (["foo"] if listed else [])


# Hostile input --------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**63) | st.text(max_size=9) | st.just(NOW),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
bodies = st.binary(max_size=40) | st.builds(
    codec.dumps, st.sampled_from([*protocol.recv, "HELLO"]), anything
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.lists(st.binary(max_size=9), max_size=3).flatmap(
            lambda head: st.tuples(*map(st.just, head), bodies)
        )
        | bodies.map(lambda body: (b"", body)),
        max_size=6,
    )
)
def test_mr_chase_survives_any_bytes(ask, with_db, messages):
    with Context().socket(zmq.DEALER) as hostile:
        hostile.connect(with_db.import_queue)
        for parts in messages:
            hostile.send_multipart(parts)
        assert ask("REMPKG", "nothing", False, "") == ("ERROR", "NOPKG")


def test_a_tool_that_sends_garbage_receives_an_error(ask, with_db):
    with Context().socket(zmq.REQ) as tool:
        tool.connect(with_db.import_queue)
        for frame in (b"", b"\xff", codec.dumps("ADDPKG", ["x\n\0y"]), codec.dumps("\x1b[2J")):
            tool.send_multipart([frame])
            assert tool.poll(patience(30))
            msg, why = codec.loads(tool.recv_multipart()[0])
            assert (msg, why.partition(":")[0]) == ("ERROR", "not understood")
            assert why.isprintable()


def test_a_bug_at_one_request_is_answered(ask, monkeypatch):
    def buggy(name):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(mr_chase, "canonical", buggy)
        assert refused(addpkg(ask), "RuntimeError: a bug")
    assert addpkg(ask) == ("DONE", "NEWPKG")


# Recipes, cures and questions -----------------------------------------------------------------

PI = Target("linux_armv7l", "cp311")
APT = Recipe(apt=("libssl-dev",))
EVER = datetime(2020, 1, 1, tzinfo=UTC)


def failed(db, package="foo", version="1.0", reason="setup-error", **about):
    """Store a failed build; return its number."""
    if not db.get_targets():
        db.add_targets([PI])
    build = BuildState(1, package, version, PI.abi, False, timedelta(seconds=1), "log\n")
    build.platform, build.final = PI.platform, True
    build.diagnosis = Diagnosis(reason, "ssl.h")
    for name, value in about.items():
        setattr(build, name, value)
    return db.log_build(build)


def waits(db, version="1.0"):
    return [each.recipe for each in db.get_pending([("foo", version)])]


@pytest.mark.usefixtures("add")
def test_a_recipe_repeats_what_it_could_cure(ask, db, secretary):
    assert addver(ask, version="2.0") == ("DONE", "NEWVER")
    failed(db)
    failed(db, version="2.0", reason="no-source")
    secretary.asked.clear()
    assert ask("SETRECIPE", "Foo", APT, True, True) == ("DONE", "1")
    assert (db.get_recipes(""), waits(db), secretary.asked) == ([], [], [])
    assert ask("SETRECIPE", "Foo", APT, True, False) == ("DONE", "1")
    assert (waits(db), waits(db, "2.0")) == ([APT], [])
    assert secretary.asked == [RewritePages("PROJECT", "foo")]
    msg, [stored] = ask("RECIPES", "")
    assert (msg, stored.package, stored.recipe, stored.by_operator) == ("RECIPES", "foo", APT, True)
    assert ask("RECIPES", "foo") == ("RECIPES", [])
    assert ask("SETRECIPE", "foo", PLAIN, True, False) == ("DONE", "0")
    assert ask("RECIPES", "") == ("RECIPES", [])


@pytest.mark.usefixtures("add")
def test_a_recipe_may_be_for_new_builds_only(ask, db):
    failed(db)
    assert ask("SETRECIPE", "foo", APT, False, False) == ("DONE", "0")
    assert (len(db.get_recipes("")), waits(db)) == (1, [])


def test_invalid_recipes_are_refused(ask, db):
    assert ask("SETRECIPE", "foo", APT, True, False) == ("ERROR", "NOPKG")
    assert addpkg(ask) == ("DONE", "NEWPKG")
    wrong = Recipe(constraints=("x y z",), environment={"PATH": "/tmp"})
    reply = ask("SETRECIPE", "foo", wrong, True, False)
    assert refused(reply, "constraints: 'x y z' is not", "a recipe cannot set PATH")
    assert db.get_recipes("") == []


@pytest.mark.usefixtures("add")
def test_failures_of_a_class_are_counted_and_repeated(ask, db, secretary):
    failed(db, reason="missing-header")
    assert ask("RETRYREASON", EVER, "missing-header", "other.h", True) == ("DONE", "0")
    assert ask("RETRYREASON", EVER, "missing-header", None, True) == ("DONE", "1")
    assert waits(db) == []
    assert ask("RETRYREASON", EVER, "missing-header", "ssl.h", False) == ("DONE", "1")
    assert waits(db) == [PLAIN]
    assert secretary.asked[-1] == RewritePages("PROJECT", "foo")


@pytest.mark.usefixtures("add")
def test_a_version_is_repeated(ask, db, secretary):
    failed(db)
    failed(db, recipe=APT)
    assert ask("RETRYVERSION", "Foo", "1") == ("DONE", "2")
    assert waits(db) == [PLAIN]
    assert secretary.asked[-1] == RewritePages("PROJECT", "foo")
    assert ask("RETRYVERSION", "foo", "1.0") == ("DONE", "0")
    assert ask("RETRYVERSION", "foo", "2.0") == ("ERROR", "NOVER")
    assert ask("RETRYVERSION", "bar", "2.0") == ("ERROR", "NOPKG")
    assert addver(ask, skip="too large") == ("DONE", "SKIPVER")
    assert refused(ask("RETRYVERSION", "foo", "1.0"), "foo 1.0 is not to be built: too large")


@pytest.mark.usefixtures("add")
def test_what_slaves_could_cure_is_counted_and_tried_again(ask, db, fleet, *, monkeypatch):
    fleet.value = [Ability(*PI, sorted(Recipe._fields), 2**30, "bookworm")]
    monkeypatch.setattr(mr_chase, "RANGE", 2)
    monkeypatch.setattr(mr_chase, "PART", 1)
    for package in ("aaa", "bar", "baz"):
        assert addpkg(ask, package) == ("DONE", "NEWPKG")
        assert addver(ask, package) == ("DONE", "NEWVER")
        failed(db, package, reason="test-failure" if package == "baz" else "setup-error")
    failed(db, reason="killed", counts=False, retry=Retry(Attempt(1), PLAIN, None))
    assert ask("CURE", True) == ("DONE", "3")
    assert waits(db) == []
    fleet.value = []  # no slave could carry it out
    assert ask("CURE", False) == ("DONE", "0")
    fleet.value = [Ability(*PI, ["release_plus"], 0, "")]
    assert ask("CURE", False) == ("DONE", "3")
    waiting = {each.package: each for each in db.get_target_queue()}
    assert waiting.keys() == {"aaa", "bar", "foo"}
    assert waiting["bar"].recipe == Recipe(release_plus=timedelta(days=1))
    assert waiting["bar"].attempt == Attempt(1, ("as released",))
    assert waiting["foo"].recipe == PLAIN
    assert ask("CURE", False) == ("DONE", "0")


def test_a_fault_ends_the_search_for_cures(ask, fleet):
    assert addpkg(ask) == ("DONE", "NEWPKG")
    fleet.error = DatabaseError("the disk is full")
    assert refused(ask("CURE", True), "the disk is full")
    fleet.error, fleet.value = None, []
    assert ask("CURE", True) == ("DONE", "0")


@pytest.mark.usefixtures("add")
def test_why_there_is_no_wheel(ask, db, fleet, monkeypatch):
    fleet.value = []
    assert addver(ask, version="2.0") == ("DONE", "NEWVER")
    number = failed(db, reason="missing-header", diagnosis=Diagnosis("missing-header", "x.h", "?"))
    db.grant_lease("foo", "2.0", PI, "board7", datetime.now(UTC) + timedelta(hours=1))
    msg, answer = ask("WHY", "Foo")
    assert (msg, answer.left_out) == ("WHY", 0)
    by_version = {line.version: line for line in answer.lines}
    assert by_version["2.0"][1:5] == (*PI, "building", "building on board7")
    assert by_version["1.0"].state == "failed"
    assert by_version["1.0"].text.startswith("failed: missing header: install")
    assert by_version["1.0"][5:] == ("?", number)
    assert [each.version for each in ask("WHY", "foo", "1")[1].lines] == ["1.0"]
    db.release_lease("foo", "2.0", PI)
    [line] = ask("WHY", "foo", "2.0")[1].lines
    assert line.text == "waiting, first of 1 in the queue"
    monkeypatch.setattr(mr_chase, "MAX_VERSIONS", 1)
    answer = ask("WHY", "foo")[1]
    assert (len(answer.lines), answer.left_out) == (1, 1)
    assert ask("WHY", "foo", "3.0") == ("ERROR", "NOVER")
    assert ask("WHY", "bar") == ("ERROR", "NOPKG")


@pytest.mark.parametrize("reason", ["deleted", "binary only"])
def test_the_reasons_of_the_master_are_refused(ask, reason):
    words = f"{reason!r} is a reason that only the master gives"
    assert addpkg(ask) == ("DONE", "NEWPKG")
    assert refused(addver(ask, skip=reason), words)
    assert addver(ask) == ("DONE", "NEWVER")
    assert refused(addpkg(ask, skip=reason), words)
    assert refused(ask("REMVER", "foo", "1.0", False, reason, False), words)
    assert refused(ask("REMPKG", "foo", False, reason), words)
