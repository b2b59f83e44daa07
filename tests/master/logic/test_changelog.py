"""The net changes of changelog events do not depend on how the events are sliced."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
from piwheels.core.database.upstream import BINARY_ONLY
from piwheels.core.errors import BadMessage
from piwheels.master.logic.changelog import Removal, fold, parse, serial_after, slice_length

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
TIME = int(WHEN.timestamp())


def events(*actions, since=0):
    """Events of (name, version, action), whose serials are 1, 2, ..."""
    entries = [
        [name, version, TIME, action, number]
        for number, (name, version, action) in enumerate(actions, 1)
    ]
    return parse(entries, since).events


def version_of(*actions):
    changes = fold(events(*[("foo", "1.0", action) for action in actions]))
    return changes.versions[0]


def test_entries_are_sorted_and_known_ones_left_out():
    entries = [
        ["b", None, 5, "create", 9],
        ["A.b", "1", 4, "new release", 7],
        ["c", None, 0, "create", 3],
    ]
    batch = parse(entries, 3)
    assert [(e.package, e.spelling, e.serial) for e in batch.events] == [
        ("a-b", "A.b", 7),
        ("b", "b", 9),
    ]
    assert batch[1:] == (9, [])


@pytest.mark.parametrize(
    "entry",
    [
        [5, None, TIME, "create", 8],
        ["../etc", None, TIME, "create", 8],
        ["a" * 999, None, TIME, "create", 8],
        ["foo", 1.5, TIME, "new release", 8],
        ["foo", "1 0", TIME, "new release", 8],
        ["foo", "1" * 201, TIME, "new release", 8],
        ["foo", "1.x", TIME, "new release", 8],
        ["foo", "1.x", TIME, "add source file foo-1.x.zip", 8],
        ["foo", None, "now", "create", 8],
        ["foo", None, -1, "create", 8],
        ["foo", None, 2**80, "create", 8],
        ["foo", None, True, "create", 8],
        ["foo", None, TIME, None, 8],
    ],
)
def test_an_invalid_entry_is_ignored_but_its_serial_counts(entry):
    events, serial, ignored = parse([entry, ["foo", None, TIME, "create", 7]], 0)
    assert (events, serial, len(ignored)) == (events_of_seven(), 8, 1)
    assert repr(entry[0])[:80] in ignored[0]
    assert len(ignored[0]) < 300


def events_of_seven():
    return parse([["foo", None, TIME, "create", 7]], 0).events


@pytest.mark.parametrize(
    "answer",
    [None, {}, "x", [5], [[]], [["foo", None, 5, "create", "8"]], [["foo", None, 5, "create", -1]]],
)
def test_an_answer_without_serials_is_refused(answer):
    with pytest.raises(BadMessage, match="changelog"):
        parse(answer, 0)


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["new release"], {"released": WHEN}),
        (["add py3 file x.whl"], {"released": WHEN}),
        (["add source file a b.zip"], {"released": WHEN, "added": ("a b.zip",)}),
        (["add source file x", "remove file x"], {"released": WHEN, "removed": ("x",)}),
        (["remove file x", "add source file x"], {"released": WHEN, "added": ("x",)}),
        (["remove file x"], {"removed": ("x",)}),
        (["yank release"], {"yanked": True}),
        (["yank release", "unyank release"], {"yanked": False}),
        (["release quarantined"], {"quarantined": True}),
        (["release quarantine cleared"], {"quarantined": False}),
        (["new release", "remove release"], {"deleted": True}),
    ],
)
def test_an_action_on_a_version(actions, expected):
    assert version_of(*actions) == UpstreamVersion("foo", "1.0", **expected)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("create", {"known": True}),
        ("remove project", {"known": False, "deleted": True}),
        ("project quarantined", {"known": False, "status": "quarantined"}),
        ("project quarantine cleared", {"known": False, "status": "active"}),
    ],
)
def test_an_action_on_a_project(action, expected):
    changes = fold(events(("Foo", None, action)))
    assert changes.packages == [UpstreamPackage("foo", name="Foo", seen=WHEN, **expected)]


@pytest.mark.parametrize(
    ("version", "action"),
    [("1.0", "frobnicate"), (None, "new release"), (None, "change owner")],
)
def test_an_unknown_action_changes_nothing(version, action):
    changes = fold(events(("foo", version, action)))
    assert (changes.packages, changes.versions, len(changes.unknown)) == ([], [], 1)


def test_a_version_of_a_removed_project_is_left_out():
    changes = fold(events(("foo", "1.0", "new release"), ("foo", None, "remove project")))
    assert changes[:2] == ([UpstreamPackage("foo", known=False, deleted=True)], [])


def test_a_slice_ends_before_a_release_that_returns():
    history = events(
        ("foo", None, "create"),
        ("foo", "1.0", "remove release"),
        ("foo", "2.0", "new release"),
        ("foo", "1.0", "new release"),
        ("bar", None, "remove project"),
        ("bar", "3.0", "new release"),
    )
    assert slice_length(history, 100, set()) == 3
    assert slice_length(history[3:], 100, {Removal("foo", "1.0")}) == 0
    assert slice_length(history[3:], 100, {Removal("foo", "2.0")}) == 2
    assert slice_length(history[3:], 100, {Removal("foo", None)}) == 0
    assert slice_length(history, 2, set()) == 2


@pytest.mark.parametrize("other", ["1", "1.0.0", "v1.0", "1.0.0-0"])
def test_spellings_of_a_version_are_one_version(other):
    history = events(
        ("foo", "1.0", "add source file foo-1.0.zip"),
        ("foo", other, "add source file foo-1.zip"),
        ("foo", other, "yank release"),
        ("foo", other, "remove release"),
        ("foo", "1.0", "new release"),
    )
    if other == "1.0.0-0":  # 1.0.0.post0 is a version of its own
        assert [each.version for each in fold(history[:4]).versions] == ["1.0", other]
        assert slice_length(history, 100, {Removal("foo", other)}) == 1
        return
    one = {"released": WHEN, "added": ("foo-1.0.zip", "foo-1.zip")}
    assert fold(history[:2]).versions == [UpstreamVersion("foo", "1.0", **one)]
    assert fold(history[:3]).versions == [UpstreamVersion("foo", "1.0", yanked=True, **one)]
    assert fold(history[:4]).versions[0].deleted
    assert slice_length(history, 100, set()) == 4
    assert slice_length(history, 100, {Removal("foo", other)}) == 0


def test_a_serial_is_complete_after_its_last_event():
    history = parse([["foo", None, TIME, "create", serial] for serial in (3, 5, 5, 8)], 0).events
    assert [serial_after(history, number) for number in (1, 2, 3, 4)] == [3, 4, 5, 8]


actions = st.sampled_from(
    [
        "create", "remove project", "project quarantined", "project quarantine cleared",
        "new release", "add source file a.zip", "add source file b.zip", "add py3 file c.whl",
        "remove file a.zip", "remove file b.zip", "remove file c.whl", "remove release",
        "yank release", "unyank release", "release quarantined", "release quarantine cleared",
    ]
)  # fmt: skip
histories = st.lists(
    st.tuples(st.sampled_from(["foo", "bar"]), st.sampled_from(["1.0", "v1", "2.0"]), actions),
    max_size=20,
)


def follow(db, history, limit):
    """Follow upstream as CloudGazer does, with at most *limit* events in a slice."""
    for package in ("foo", "bar"):
        db.delete_package(package)
    left = events(*history)
    while left:
        number = slice_length(left, limit, set())
        changes = fold(left[:number])
        db.follow_upstream(changes.packages, changes.versions, serial_after(left, number))
        for package, version in db.get_deletions():
            if version is None:
                db.delete_package(package)
            else:
                db.delete_version(package, version)
        left = left[number:]
    return [state(db, package) for package in ("foo", "bar")]


def state(db, package):
    """The state of a package: reasons, yanks, sources. Each version has one spelling."""
    project = db.get_project_data(package)
    releases = project["releases"] if project else {}
    assert len(releases) <= 2
    whys = {each: (why["skip"], why["yanked"]) for each, why in releases.items()}
    really = [db.get_version_skip(package, each) for each in whys]
    return bool(project), whys, really, db.get_known_versions(package)


@example([("foo", "1.0", "project quarantined"), ("foo", "1.0", "add source file a.zip")], 2)
@example([("foo", "1.0", "release quarantined"), ("foo", "1.0", "add source file a.zip")], 2)
@example([("foo", "1.0", "remove file a.zip"), ("foo", "v1", "new release")], 2)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories, st.integers(2, 6))
def test_slices_of_any_size_have_the_same_result(db, history, limit):
    assert follow(db, history, limit) == follow(db, history, 1)
    skips = {why for _, whys, *_ in follow(db, history, 100) for why, _ in whys.values()}
    assert skips <= {"", BINARY_ONLY}
