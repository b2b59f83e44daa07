"""Each public method of Database: its result, and the rows that the tables have afterwards.

A row of ``CALLS`` is a method, what it is called with and gives, and what a question to the tables
answers then. A row of ``STORED`` is a method that keeps a text, which may be any.
"""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from psycopg2 import sql

from piwheels.core.database import Database
from piwheels.core.database.connection import NAME, REASON, clean
from piwheels.core.database.dsn import database_of, redirect
from piwheels.core.database.recipes import LAST
from piwheels.core.database.rows import (
    Activity,
    KnownVersion,
    Lease,
    NewAttempt,
    Published,
    Quarantine,
    RewritePendingRow,
    UpstreamPackage,
    UpstreamVersion,
    WatchedRow,
)
from piwheels.core.database.sql_files import folder
from piwheels.core.errors import DatabaseError, Refused
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.states import (
    BuildState,
    DownloadState,
    Fetch,
    FileState,
    JSONState,
    PageState,
    ProjectState,
    SearchState,
)
from piwheels.core.targets import FIRST, Target

NOW = datetime.now(UTC).replace(microsecond=0)
LATER = NOW + timedelta(hours=1)
CP39, OTHER = Target("any", "cp39"), Target("linux_armv7l", "cp310")
WHEEL = "foo-1.0-cp39-cp39-linux_x86_64.whl"
HASH = "a" * 64
CYTHON = Recipe(constraints=("cython<3",))
OURS = (
    "FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
    " AND relnamespace = 'public'::regnamespace"
)


def download(filename, kind=DownloadState):
    return kind(filename, "192.0.2.1", NOW, *["armv7l"] * 10)


FETCHES = (Fetch("https://x.example/foo.zip", 9, HASH), Fetch("y.example:443", 0, None, "no"))


def build(package="foo", version="2.0", abi="cp39", output="log", name="foo-2.0-py3-none-any.whl"):
    file = FileState(name, 1, HASH, package, version, "py3", "none", "any", None, {"apt": ["x"]})
    made = BuildState(3, package, version, abi, True, timedelta(2), output, {name: file})
    made.fetches = FETCHES
    return made


@pytest.fixture(scope="module")
def tables(server_dsn, module_dsn):
    """A superuser's cursor on the database of this module."""
    connection = psycopg2.connect(redirect(server_dsn, database_of(module_dsn)))
    connection.autocommit = True
    yield connection.cursor()
    connection.close()


@pytest.fixture(scope="module")
def database(module_dsn):
    with Database(module_dsn) as database:
        yield database


@pytest.fixture
def farm(database, tables):
    """A package with a version that is built (build 1, a file) and one in the queue; no more."""
    tables.execute(f"SELECT relname {OURS} AND relname <> 'configuration'")
    names = [name for (name,) in tables]
    # With few rows, DELETE costs less than TRUNCATE; as a replica it runs no trigger.
    tables.execute("SET session_replication_role = replica")
    tables.execute(";".join(f"DELETE FROM {name}" for name in names))  # noqa: S608
    tables.execute("SET session_replication_role = DEFAULT")
    tables.execute("UPDATE configuration SET pypi_serial = 0")
    tables.execute(
        "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence JOIN pg_class ON oid = seqrelid"
        " WHERE relnamespace = 'public'::regnamespace"
    )
    db = database
    db.add_build_abi("cp39")
    db.add_new_package("foo", description="Makes foo")
    db.add_new_package_version("foo", "1.0", NOW - timedelta(days=9))
    db.add_new_package_version("foo", "2.0", NOW - timedelta(days=3))
    db.log_build(build(version="1.0", name=WHEEL))
    db.add_package_name("foo", "Foo", NOW)
    db.watch_package("foo")
    db.grant_lease("foo", "2.0", CP39, "pi", LATER)
    db.set_package_metadata("foo", needs=["six"])
    db.links_changed("six")
    return db


class Call(NamedTuple):
    """A call of *method*, what it *gives* (an exception: raises), and what a question *finds*."""

    method: str
    args: tuple[Any, ...]
    gives: Any
    asked: str = "SELECT 1"
    finds: Any = 1


ROW = WatchedRow("foo", found=True, newest="2.0", latest=NOW, serial=5, etag="e", modified="m")
UPSTREAM = (
    [UpstreamPackage("new", name="New", seen=NOW), UpstreamPackage("foo", status="archived")],
    [UpstreamVersion("new", "1", NOW, added=("new-1.tar.gz",)), UpstreamVersion("foo", "7")],
    12,
)
#: The number of the build in the farm, and one that no build has.
DONE, NONE = 1, 2**62
CALLS = [
    # Packages
    Call("test_package", ("foo",), True),
    Call("test_package", ("bar",), False),
    Call("test_package_version", ("foo", "1.0"), True),
    Call("test_package_version", ("1.0", "foo"), False),
    Call("add_new_package", ("bar", "no", "Bar"), True,
         "SELECT skip || description FROM packages WHERE package = 'bar'", "noBar"),
    Call("add_new_package", ("foo", "no", "Bar"), False,
         "SELECT skip || description FROM packages WHERE package = 'foo'", "Makes foo"),
    Call("add_new_package", ("",), DatabaseError, "SELECT count(*) FROM packages", 1),
    Call("add_new_package_version", ("foo", "3.0", NOW, "no"), True,
         "SELECT skip FROM versions WHERE version = '3.0'", "no"),
    Call("add_new_package_version", ("foo", "3.0"), True,
         "SELECT abi_tag FROM build_queue WHERE version = '3.0'", "any"),
    Call("add_new_package_version", ("foo", "2.0", NOW, "no"), False,
         "SELECT skip FROM versions WHERE version = '2.0'", ""),
    Call("add_new_package_version", ("3.0", "foo"), False, "SELECT count(*) FROM versions", 2),
    Call("add_new_package_version", ("foo", ""), DatabaseError,
         "SELECT count(*) FROM versions", 2),
    Call("add_package_name", ("foo", "fOO", NOW), None,
         "SELECT package FROM package_names WHERE name = 'fOO'", "foo"),
    Call("add_package_name", ("bar", "Bar"), None, "SELECT count(*) FROM package_names", 1),
    Call("set_package_description", ("foo", "new"), None,
         "SELECT description FROM packages", "new"),
    Call("set_package_metadata", ("foo", "Makes bars"), True,
         "SELECT summary || description FROM packages", "Makes barsMakes foo"),
    Call("set_package_metadata", ("foo", "", ["six", "attrs", "six"]), False,
         "SELECT needs FROM packages", ["attrs", "six"]),
    Call("set_package_status", ("foo", "quarantined"), None,
         "SELECT count(*) FROM build_queue", 0),
    Call("set_package_status", ("foo", "odd"), DatabaseError,
         "SELECT status FROM packages", "active"),
    Call("skip_package", ("foo", "no"), None, "SELECT count(*) FROM build_queue", 0),
    Call("skip_package", ("bar", "no"), None, "SELECT skip FROM packages", ""),
    Call("skip_package_version", ("foo", "2.0", "no"), None,
         "SELECT count(*) FROM build_queue", 0),
    Call("skip_package_version", ("foo", "9", "no"), None,
         "SELECT count(*) FROM versions WHERE skip <> ''", 0),
    Call("hold_builds", ("foo", "2.0", True), None, "SELECT count(*) FROM build_queue", 0),
    Call("hold_builds", ("foo", None, True), None, "SELECT count(*) FROM build_queue", 0),
    Call("hold_builds", ("foo", "2.0", False), None, "SELECT count(*) FROM build_queue", 1),
    Call("hold_builds", ("bar", None, True), None,
         "SELECT count(*) FROM packages WHERE removing", 0),
    Call("builds_held", ("foo",), False),
    Call("builds_held", ("foo", "2.0"), False),
    Call("yank_version", ("foo", "1.0", "bad"), None,
         "SELECT yank_reason FROM versions WHERE yanked", "bad"),
    Call("unyank_version", ("foo", "1.0"), None, "SELECT count(*) FROM versions WHERE yanked", 0),
    Call("delete_package", ("foo",), None,
         "SELECT (SELECT count(*) FROM versions) + (SELECT count(*) FROM files)", 0),
    Call("delete_package", ("bar",), None, "SELECT count(*) FROM versions", 2),
    Call("delete_version", ("foo", "1.0"), None, "SELECT count(*) FROM files", 0),
    Call("delete_version", ("1.0", "foo"), None, "SELECT count(*) FROM files", 1),
    Call("get_all_packages", (), {"foo"}),
    Call("get_package_aliases", ("foo",), ["Foo"]),
    Call("get_version_skip", ("foo", "1.0"), ""),
    Call("get_version_skip", ("foo", "9"), None),
    Call("get_requirements", ([("foo", "1.0"), ("foo", "9")],), {}),
    Call("get_versions_deleted", ("foo",), set()),
    Call("get_pypi_serial", (), 0),
    # ABIs, the queue, builds
    Call("add_build_abi", ("cp310", "later"), True,
         "SELECT skip FROM build_abis WHERE abi_tag = 'cp310'", "later"),
    Call("add_build_abi", ("cp39", "no"), False, "SELECT count(*) FROM build_queue", 0),
    Call("add_build_abi", ("none",), DatabaseError, "SELECT count(*) FROM build_abis", 1),
    Call("get_build_abis", (True,), {"cp39"}),
    Call("get_build_queue", (), {"cp39": [("foo", "2.0")]}),
    Call("get_build_queue", (0,), {"cp39": []}),
    Call("get_pending", ([("foo", "1.0"), ("foo", "2.0")],),
         lambda found: [each.target for each in found] == [FIRST]),
    Call("get_pending", ([],), []),
    Call("get_second_opinions", (), []),
    Call("get_target_queue", (),
         lambda found: [(each.version, each.exclusive) for each in found] == [("2.0", "version")]),
    Call("get_target_queue", (0,), []),
    Call("explain_position", ("foo", "2.0"),
         lambda found: [(each.place, each.of, each.abi_tag) for each in found] == [(1, 1, "any")]),
    Call("explain_position", ("foo", "1.0"), []),
    Call("set_urgency", ("foo", "2.0", "first"), True,
         "SELECT urgency FROM versions WHERE version = '2.0'", "first"),
    Call("set_urgency", ("foo", "9", "first"), False),
    Call("set_urgency", ("foo", "2.0", "never"), DatabaseError,
         "SELECT count(*) FROM versions WHERE urgency = ''", 2),
    Call("rank_packages", (), 0, "SELECT popularity FROM packages", 0),
    Call("get_targets", (), lambda found: [each[:4] for each in found] == [(*CP39, 300009, "")]),
    Call("add_targets", ([CP39, OTHER], "Debian", 7), [OTHER],
         "SELECT string_agg(system || position, ' ') FROM targets", "Debian7 Debian7"),
    Call("add_targets", ([Target("x", "any")],), DatabaseError,
         "SELECT count(*) FROM build_abis", 1),
    Call("retire_targets", ([CP39, OTHER], "old"), [CP39],
         "SELECT count(*) FROM build_queue", 0),
    Call("preview_target", (OTHER,), 0),
    Call("preview_target", (CP39,), 0),
    Call("log_build", (build(),), DONE + 1,
         "SELECT (SELECT count(*) FROM build_queue) + (SELECT count(*) FROM leases)", 0),
    Call("log_build", (build(version="9"),), Refused, "SELECT count(*) FROM builds", 1),
    Call("log_build", (build(abi="cp27"),), Refused, "SELECT count(*) FROM builds", 1),
    Call("log_build", (build(name=WHEEL),), Refused, "SELECT count(*) FROM builds", 1),
    Call("log_build", (build(name="bar-1-py3-none-any.whl"),), Refused,
         "SELECT count(*) FROM files", 1),
    Call("log_builds", ([],), [], "SELECT count(*) FROM builds", 1),
    Call("log_builds", ([build()],), [DONE + 1], "SELECT count(*) FROM files", 2),
    Call("log_build", (build(),), DONE + 1, "SELECT string_agg(url || size || refused, ' '"
         " ORDER BY position) FROM fetches WHERE build_id > 1",
         "https://x.example/foo.zip9 y.example:4430no"),
    Call("get_fetches", ([DONE, NONE],), {DONE: list(FETCHES)}),
    Call("delete_build", ("foo", "1.0"), None, "SELECT count(*) FROM build_queue", 2),
    Call("delete_build", ("1.0", "foo"), None, "SELECT count(*) FROM builds", 1),
    Call("release_retries", (), 0),
    Call("count_failed", (NOW - timedelta(days=1),), 0),
    Call("retry_failed", (NOW - timedelta(days=1), ""), [], "SELECT count(*) FROM builds", 1),
    Call("count_reasons", (NOW - timedelta(days=1),), []),
    Call("count_reason", ("unknown", None, NOW), 0),
    Call("get_failures", ("unknown", "", NOW), []),
    Call("retry_reason", ("unknown", None, NOW), [], "SELECT count(*) FROM builds", 1),
    Call("retry_version", ("foo", "1.0"), 0, "SELECT count(*) FROM builds", 1),
    # Recipes
    Call("set_recipe", ("foo", CYTHON), True,
         "SELECT content::text || by_operator FROM recipes JOIN project_recipes USING (recipe_id)",
         '{"constraints": ["cython<3"]}true'),
    Call("set_recipe", ("foo", PLAIN), False, "SELECT count(*) FROM project_recipes", 0),
    Call("set_recipe", ("bar", CYTHON), False, "SELECT count(*) FROM project_recipes", 0),
    Call("get_recipes", ("",), []),
    Call("get_standing", (("", 0), LAST), []),
    Call("retry_builds", ([NewAttempt(DONE, 1, (), CYTHON)],), [],
         "SELECT count(*) FROM retries", 0),
    Call("get_places", ("foo", ["1.0", "2.0"]), [
        ("2.0", "any", "any", 1, 1, ""), ("2.0", "any", "cp39", None, 0, "pi")]),
    Call("get_places", ("foo", ["2.0"], 0),
         lambda found: found[0] == ("2.0", "any", "any", None, 1, "")),
    Call("take_back", ([DONE],), [], "SELECT count(*) FROM builds", 1),
    Call("save_quarantines", ([Quarantine("anna", "", "cp39", "why")],), None,
         "SELECT count(*) FROM slave_quarantines", 1),
    Call("get_quarantines", (), []),
    Call("get_all_build_ids", (), {DONE}),
    Call("get_builds", ([("foo", "2.0")],), []),
    Call("get_recent_builds", (0,), []),
    Call("get_build_log", (DONE, 1, 9), ("og", 3)),
    Call("get_build_log", (DONE, 2**40, 2**40), ("", 3)),
    Call("get_build_log", (NONE, 0, 1), None),
    Call("get_unwritten_logs", (), [(DONE, "log")]),
    Call("logs_written", ([DONE, NONE],), None, "SELECT count(*) FROM build_logs_pending", 0),
    Call("log_waits", (DONE,), True),
    Call("log_waits", (NONE,), False),
    Call("delete_package", ("foo",), None, "SELECT build_id FROM build_logs_gone", DONE),
    Call("get_logs_gone", (), []),
    Call("logs_removed", ([DONE, NONE],), None, "SELECT count(*) FROM build_logs_gone", 0),
    # Leases
    Call("grant_lease", ("foo", "1.0", CP39, "pi", LATER), True,
         "SELECT count(*) FROM leases", 2),
    Call("grant_lease", ("foo", "9", CP39, "pi", LATER), False,
         "SELECT count(*) FROM leases", 1),
    Call("renew_leases", ([("foo", "2.0", CP39), ("a", "b", Target("c", "d"))], NOW), None,
         "SELECT expires FROM leases", NOW),
    Call("release_lease", ("foo", "2.0", CP39), None, "SELECT count(*) FROM leases", 0),
    Call("release_lease", ("foo", "2.0", OTHER), None, "SELECT count(*) FROM leases", 1),
    Call("get_leases", (), lambda found: found == [
        Lease("foo", "2.0", *CP39, "pi", found[0].since, LATER)]),
    # Pages
    Call("get_simple_index", (), ["foo"]),
    Call("get_quarantined", (), []),
    Call("get_simple_project", ("foo",),
         lambda found: [each.filename for each in found.files] == [WHEEL]),
    Call("get_simple_project", ("bar",), None),
    Call("get_package_files", ("foo",), {WHEEL: HASH}),
    Call("get_published", ("foo", "1.0"), Published({WHEEL: HASH}, {}, "")),
    Call("get_published", ("bar", "1.0"), Published({}, {}, "")),
    Call("get_project_data", ("foo",), lambda found: list(found["releases"]) == ["2.0", "1.0"]),
    Call("get_project_data", ("bar",), None),
    Call("links_changed", ("bar",), None, "SELECT count(*) FROM links_pending", 1),
    Call("get_links_pending", (10,), ["foo"]),
    Call("get_links_pending", (0,), []),
    Call("links_written", ("foo",), None, "SELECT count(*) FROM links_pending", 0),
    Call("links_written", ("bar",), None, "SELECT count(*) FROM links_pending", 1),
    Call("get_summaries", (["foo", "bar"], 5), {"foo": "Makes"}),
    Call("get_search_index", (), {"foo": (0, 0)}),
    Call("get_search_part", ("foo",), {}),
    Call("add_rewrite", ("bar", "PROJECT"), None,
         "SELECT command FROM rewrites_pending WHERE package = 'bar'", "PROJECT"),
    Call("add_rewrite", ("foo", "PROJECT"), None,  # BOTH was asked for already
         "SELECT command FROM rewrites_pending", "BOTH"),
    Call("add_rewrite", ("bar", "odd"), DatabaseError, "SELECT count(*) FROM rewrites_pending", 1),
    Call("get_rewrite_note", ("foo", "BOTH"), 1),
    Call("get_rewrite_note", ("foo", "PROJECT"), None),  # which does less than is asked for
    Call("rewrite_done", ("foo", 1), None, "SELECT count(*) FROM rewrites_pending", 0),
    Call("rewrite_done", ("foo", 0), None, "SELECT count(*) FROM rewrites_pending", 1),
    Call("load_rewrites_pending", (), lambda found: [row.package for row in found] == ["foo"]),
    Call("load_rewrites_part", ("foo",), []),
    Call("save_rewrites_pending", ([RewritePendingRow("bar", NOW, "BOTH")],), None,
         "SELECT added_at FROM rewrites_pending WHERE package = 'bar'", NOW),
    Call("save_rewrites_pending", ([],), None, "SELECT count(*) FROM rewrites_pending", 1),
    Call("get_statistics", (), lambda found: found["packages_built"] == 1),
    Call("get_initial_statistics", (), lambda found: found["packages_built"] == 1),
    Call("get_activity", (), lambda found: isinstance(found, Activity)
         and found.builds == {"cp39": (1, 0)} and set(found.downloads.values()) <= {0}),
    # The access log
    Call("log_download", (download(WHEEL),), None, "SELECT downloads FROM downloads_ever", 1),
    Call("log_download", (download("bar.whl"),), None, "SELECT filename FROM downloads", "bar.whl"),
    Call("log_metadata_download", (download(WHEEL),), None,
         "SELECT filename FROM metadata_downloads", WHEEL),
    Call("log_search", (download("bar", SearchState),), None,
         "SELECT package FROM searches", "bar"),
    Call("log_many", ([ProjectState("bar", "::1", NOW, "x")],), 0,
         "SELECT package FROM project_page_hits", "bar"),
    Call("log_many", ([JSONState("bar", "::1", NOW, "x")],), 0,
         "SELECT package FROM project_json_downloads", "bar"),
    Call("log_many", ([PageState("/faq", "::1", NOW, "x")],), 0,
         "SELECT page FROM web_page_hits", "/faq"),
    Call("log_many", ([download(WHEEL), download("bar.whl"), download(f"{WHEEL}.metadata")],), 1,
         "SELECT count(*) FROM metadata_downloads", 1),
    Call("log_many", ([],), 0, "SELECT count(*) FROM downloads", 0),
    # Upstream
    Call("follow_upstream", UPSTREAM, lambda found: "new" in dict(found),
         "SELECT abi_tag FROM build_queue WHERE package = 'new'", "any"),
    Call("follow_upstream", ([], [], None), [], "SELECT pypi_serial FROM configuration", 0),
    Call("get_deletions", (), []),
    Call("get_known_versions", ("foo",), {"1.0": KnownVersion([]), "2.0": KnownVersion([])}),
    Call("get_unpolled", (["foo", "bar"],), ["foo"]),
    Call("watch_package", ("bar",), None,
         "SELECT asked FROM watched WHERE package = 'bar'", True),
    Call("watch_listed", (["bar", "bar"],), None,
         "SELECT count(*) FROM watched WHERE listed", 1),
    Call("unwatch_package", ("foo",), True, "SELECT asked FROM watched", False),
    Call("unwatch_package", ("bar",), False, "SELECT count(*) FROM watched", 1),
    Call("get_watched", (), [WatchedRow("foo")]),
    Call("watch_asked", (WatchedRow("foo"),), None, "SELECT polled FROM watched", True),
    Call("watch_asked", (ROW,), None, "SELECT polled FROM watched", False),
    Call("watch_polled", (ROW,), None, "SELECT serial FROM watched", 5),
    Call("watch_polled", (ROW._replace(package="bar"),), None, "SELECT serial FROM watched", 0),
    # The connection
    Call("abort_retries", (), None),
    Call("close", (), None),  # the next call connects again
    Call("listen", (), lambda found: found.close() is None),
]  # fmt: skip


HOSTILE = [
    "",
    "\0",
    "x" * 10_000,
    "a\udcff\nb\x1b[2J",
    "'; DROP TABLE builds; --",
    "%s{}",
    "\U0001f600",
]
#: Methods that store a text: name, arguments, the query that finds it, and the column's width.
STORED = [
    ("add_build_abi", ("{}",), "SELECT abi_tag FROM build_abis WHERE abi_tag <> 'cp39'", NAME),
    ("add_new_package", ("{}",), "SELECT package FROM packages WHERE package <> 'foo'", NAME),
    ("add_new_package_version", ("foo", "{}"),
     "SELECT version FROM versions WHERE version NOT IN ('1.0', '2.0')", NAME),
    ("watch_package", ("{}",), "SELECT package FROM watched WHERE package <> 'foo'", NAME),
    ("add_package_name", ("foo", "{}"), "SELECT name FROM package_names WHERE name <> 'Foo'", NAME),
    ("add_rewrite", ("{}", "BOTH"),
     "SELECT package FROM rewrites_pending WHERE package <> 'foo'", NAME),
    ("set_package_description", ("foo", "{}"),
     "SELECT description FROM packages WHERE package = 'foo'", REASON),
    ("skip_package", ("foo", "{}"), "SELECT skip FROM packages WHERE package = 'foo'", REASON),
    ("skip_package_version", ("foo", "1.0", "{}"),
     "SELECT skip FROM versions WHERE version = '1.0'", REASON),
    ("yank_version", ("foo", "1.0", "{}"), "SELECT yank_reason FROM versions WHERE yanked", REASON),
    ("grant_lease", ("foo", "2.0", CP39, "{}", LATER), "SELECT label FROM leases", NAME),
]  # fmt: skip
#: Methods that refuse an empty text.
MUST = {"add_build_abi", "add_new_package", "add_new_package_version", "watch_package"}


@pytest.mark.parametrize("text", HOSTILE, ids=["empty", "NUL", "long", *map(ascii, HOSTILE[3:])])
def test_any_text_is_sanitised_or_refused(farm, tables, text):
    for name, args, asked, width in STORED:
        given = [text if arg == "{}" else arg for arg in args]
        if not text and name in MUST:
            with pytest.raises(DatabaseError):
                getattr(farm, name)(*given)
            continue
        getattr(farm, name)(*given)
        tables.execute(asked)
        assert tables.fetchall() == [(clean(text, width),)], name


def dump(tables):
    tables.execute(f"SELECT relname {OURS}")
    found = {}
    for (name,) in tables.fetchall():
        tables.execute(sql.SQL("TABLE {}").format(sql.Identifier(name)))
        found[name] = sorted(map(str, tables.fetchall()))
    return found


@pytest.mark.parametrize("text", HOSTILE, ids=["empty", "NUL", "long", *map(ascii, HOSTILE[3:])])
def test_unknown_names_change_nothing(farm, tables, text):
    values = {"str": text, "int": 1, "datetime": NOW, "datetime | None": None,
              "str | None": text,
              "Sequence[tuple[str, str]]": [(text, text)],
              "Target": Target(text, text), "Sequence[Target]": [Target(text, text)],
              "Sequence[tuple[str, str, Target]]": [(text, text, Target(text, text))]}  # fmt: skip
    adds = {name for name, args, *_ in STORED if args[0] == "{}"}
    before, called = dump(tables), set()
    for name in {call.method for call in CALLS} - adds:
        method = getattr(farm, name)
        kinds = [each.annotation for each in inspect.signature(method).parameters.values()]
        if kinds and set(kinds) <= set(values) and set(kinds) != {"int"}:
            method(*[values[kind] for kind in kinds])
            called.add(name)
    assert len(called) > 20
    assert dump(tables) == before


def test_every_public_method_is_called():
    public = {name for name, _ in inspect.getmembers(Database, callable) if name[0] != "_"}
    assert public == {call.method for call in CALLS}


def test_every_public_function_has_a_caller():
    """A function that only other functions call begins with ``_``."""
    functions = {path.stem for path in (folder() / "functions").glob("[a-z]*.sql")}
    client = Path(inspect.getfile(Database)).parent
    code = "".join(path.read_text() for path in client.glob("*.py"))
    assert {name for name in functions if f'"{name}"' not in code} == set()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method}")
def test_results_and_changes_of_each_method(farm, tables, call):
    method = getattr(farm, call.method)
    if inspect.isclass(call.gives):
        with pytest.raises(call.gives):
            method(*call.args)
    elif callable(call.gives):
        assert call.gives(method(*call.args))
    else:
        assert method(*call.args) == call.gives
    tables.execute(call.asked)
    assert tables.fetchone()[0] == call.finds
    assert farm.get_all_packages() is not None  # it still answers
