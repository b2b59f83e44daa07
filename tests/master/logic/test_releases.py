"""Pages of projects, and the changes that they cause for a watched project."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from piwheels.core.database.rows import KnownVersion, UpstreamVersion, WatchedRow
from piwheels.core.errors import BadMessage
from piwheels.master.logic.releases import judge, parse, serial_of, source_version, wheel_version

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def file(name, days=0, *, yanked=False, time=True):
    made = {"filename": name, "yanked": yanked}
    when = (NOW + timedelta(days)).isoformat().replace("+00:00", "Z")
    return made | ({"upload-time": when} if time else {})


def page(*files, **more):
    made = {"meta": {"api-version": "1.1"}, "name": "Foo", "files": list(files)}
    return parse(made | more, "foo")


def new(row, *files, known=()):
    """The new versions, and the new row of the project."""
    verdict = judge(row, dict.fromkeys(known, KnownVersion([])), page(*files), NOW)
    return verdict.new, verdict.row


def sources(*versions, days=0, **more):
    return [file(f"foo-{version}.tar.gz", days, **more) for version in versions]


@pytest.mark.parametrize(
    ("filename", "version"),
    [
        ("foo-1.0.tar.gz", "1.0"),
        ("Foo-1.0.zip", "1.0"),
        ("foo-1.0-1.tar.gz", "1.0-1"),
        ("foo-1.0.dev1+local.tar.bz2", "1.0.dev1+local"),
        ("foo-1.0.tgz", "1.0"),
        ("foo-1.0.egg", None),
        ("foo-1.0.exe", None),
        ("foo-dog.tar.gz", None),
        ("foo-bar-1.0.tar.gz", None),
        ("bar-1.0.tar.gz", None),
        ("foo.tar.gz", None),
        ("foo-.tar.gz", None),
        (f"foo-1.{'0' * 300}.tar.gz", None),
        ("foo- 1.0.tar.gz", None),
    ],
)
def test_the_version_in_the_name_of_a_source(filename, version):
    assert source_version(filename, "foo") == version


def test_names_with_dashes_in_any_spelling():
    for name in (
        "zope.interface-5.0.tar.gz",
        "zope-interface-5.0.zip",
        "zope_interface-5.0.tar.gz",
    ):
        assert source_version(name, "zope-interface") == "5.0"
    assert wheel_version("zope_interface-5.0-1-cp39-cp39-linux_x86_64.whl") == "5.0"
    assert wheel_version("foo-5.0.whl") is None
    assert wheel_version("foo-x-py3-none-any.whl") is None


def test_a_page_is_read():
    project = page(
        file("foo-1.0.tar.gz", 2),
        file("foo-1.0.zip", 1),
        file("foo-1.0-py3-none-any.whl", yanked=True),
        file("foo-2.0-py3-none-any.whl", yanked="because"),
        5,
        **{"project-status": {"status": "archived"}},
        meta={"api-version": "1.4", "_last-serial": 77},
    )
    one, two = project.releases[Version("1.0")], project.releases[Version("2")]
    assert (project.status, project.serial) == ("archived", 77)
    assert (one.sources, one.uploaded) == (["foo-1.0.tar.gz", "foo-1.0.zip"], NOW + timedelta(1))
    assert (one.yanked, two.yanked, two.reason, two.sources) == (False, True, "because", [])


@pytest.mark.parametrize("status", [{}, {"project-status": {"status": "of a later PEP"}}])
def test_a_missing_or_unknown_status_is_active(status):
    assert page(**status).status == "active"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda parts: (
        st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=5), parts, max_size=4)
    ),
    max_leaves=10,
)
files = (
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("filename", "yanked", "upload-time"), anything)
    )
    | anything
)
documents = st.fixed_dictionaries(
    {"meta": st.just({"api-version": "1.0"}) | anything, "files": st.lists(files) | anything},
    optional={"name": st.just("foo") | anything, "project-status": anything},
)


@given(documents | anything)
def test_any_json_is_a_page_or_refused(document):
    try:
        project = parse(document, "foo")
    except BadMessage:
        return
    judge(WatchedRow("foo"), {"1.0": KnownVersion([])}, project, NOW)


@pytest.mark.parametrize(
    ("value", "serial"),
    [
        (5, 5),
        ("5", 5),
        (None, 0),
        (True, 0),
        (-1, 0),
        ("-1", 0),
        ("x", 0),
        (2**70, 0),
        ("9" * 30, 0),
        (1.5, 0),
    ],
)
def test_a_serial_is_a_number(value, serial):
    assert serial_of(value) == serial


@pytest.mark.parametrize(
    ("files", "begins"),
    [
        (sources("1.0", "1.10", "1.9"), "1.10"),
        (sources("1.0", "2.0rc1"), "1.0"),
        (sources("2.0rc1", "2.0b1", "2.0.dev9"), "2.0rc1"),
        ([*sources("1.0"), file("foo-3.0-py3-none-any.whl")], "1.0"),
        ([*sources("1.0"), *sources("2.0", yanked=True)], "1.0"),
    ],
)
def test_a_project_begins_with_its_newest_release(files, begins):
    found, row = new(WatchedRow("foo"), *files)
    assert found == [begins]
    assert row.found
    assert new(row, *files) == ([], row)


def test_a_project_without_sources_begins_later():
    found, row = new(WatchedRow("foo"), file("foo-1.0-py3-none-any.whl"))
    assert (found, row.newest) == ([], "")
    assert new(row, *sources("1.0", "2.0"))[0] == ["2.0"]


def test_a_later_upload_is_new_whatever_its_version():
    first = sources("1.0", "2.0")
    _, row = new(WatchedRow("foo"), *first)
    later = [*first, *sources("1.1", "3.0a1", days=1)]
    found, row = new(row, *later, known=["2.0"])
    assert found == ["1.1", "3.0a1"]
    assert new(row, *later, known=["2.0"])[0] == []  # an operator has removed them


def test_without_times_a_greater_version_is_new():
    first = sources("1.0", "2.0", time=False)
    _, row = new(WatchedRow("foo"), *first)
    assert new(row, *first, *sources("1.1", "2.1", time=False), known=["2.0"])[0] == ["2.1"]


def test_changes_of_known_versions():
    known = {
        "1.0": KnownVersion(["foo-1.0.zip"]),
        "2.0": KnownVersion([]),
        "dog": KnownVersion(["x"]),
    }
    project = page(file("foo-1.0.0.tar.gz", yanked="bad"), file("foo-2.0-py3-none-any.whl"))
    verdict = judge(WatchedRow("foo", True, "2.0"), known, project, NOW)
    assert verdict.versions == [
        UpstreamVersion(
            "foo",
            "1.0",
            added=("foo-1.0.0.tar.gz",),
            removed=("foo-1.0.zip",),
            yanked=True,
            yank_reason="bad",
            uploaded=NOW,
            digest=project.releases[Version("1")].digest,
        ),
        UpstreamVersion("foo", "2.0", yanked=False, wheels="pure"),
    ]
    assert (verdict.gone, verdict.new) == (set(), [])


def test_the_requirement_is_that_of_all_sources():
    files = [file(f"foo-1.0.{end}") | {"requires-python": text} for end, text in
             (("zip", ">=3.8"), ("tar.gz", " >=3.8"))]  # fmt: skip
    (release,) = page(*files, file("foo-1.0-py3-none-any.whl")).releases.values()
    assert release.requires_python == ">=3.8"
    for other in (">=3.9", None, 3, ">" * 9000):
        (release,) = page(
            *files, file("foo-1.0.tgz") | {"requires-python": other}
        ).releases.values()
        assert release.requires_python is None


def needing(version, requires):
    return sources(version)[0] | {"requires-python": requires}


@pytest.mark.parametrize(
    ("files", "abis", "expected"),
    [
        ([("2.0", ">=3.12"), ("1.0", ">=3.8")], {"cp311"}, ["1.0"]),
        ([("2.0", ">=3.12"), ("1.0", ">=3.8")], {"cp311", "cp313t"}, ["1.0", "2.0"]),
        ([("2.0", ">=3.12"), ("1.0", ">=3.8")], set(), ["2.0"]),
        ([("2.0", ">=3.12"), ("1.0", ">=3.12")], {"cp311"}, ["2.0"]),
        ([("2.0rc1", ">=3.8"), ("1.0", ">=3.12")], {"cp311"}, ["1.0"]),
        ([], {"cp311"}, []),
    ],
)
def test_each_python_gets_the_newest_release_for_it(files, abis, expected):
    project = page(*(needing(*each) for each in files))
    assert judge(WatchedRow("foo"), {}, project, NOW, abis).new == expected


def test_a_substitute_is_for_a_python_of_the_farm():
    project = page(needing("1.2", ">=3.12"), needing("1.1", ">=3.12"), needing("1.0", ">=3.8"))
    known = {"1.3": KnownVersion(["foo-1.3.tar.gz"])}
    row = WatchedRow("foo", True, "1.3", NOW)
    for abi, version in (("cp311", "1.0"), ("cp312", "1.2"), ("cp27mu", "1.2")):
        assert judge(row, known, project, NOW, {abi}).substitute.version == version


def test_the_digest_changes_with_any_source():
    def digest(*files):
        return page(*files).releases[Version("1")].digest

    first, second = sources("1.0", "1")
    plain = digest(first)
    others = [digest(first | {"hashes": {"sha256": "aa"}}), digest(first | {"size": 7}),
              digest(*sources("1.0", days=1)), digest(second), digest(first, second)]  # fmt: skip
    assert len({plain, *others}) == 6
    assert digest(second, first | {"url": "elsewhere", "yanked": "no"}) == digest(first, second)
    assert not digest(file("foo-1.0-py3-none-any.whl"))


def test_a_version_that_upstream_lacks_is_gone_except_in_quarantine():
    known = {"1.0": KnownVersion(["foo-1.0.zip"]), "2.0": KnownVersion([])}
    empty = json.loads('{"status": "quarantined", "reason": "looking at it"}')
    row = WatchedRow("foo", True, "2.0")
    assert judge(row, known, page(), NOW).gone == {"1.0"}
    verdict = judge(row, known, page(**{"project-status": empty}), NOW)
    assert (verdict.gone, verdict.package.status) == (set(), "quarantined")


def test_every_spelling_of_a_version_is_changed():
    known = dict.fromkeys(("1.0", "v1.0", "1.0.0"), KnownVersion(["foo-1.0.tar.gz"]))
    row = WatchedRow("foo", True, "1.0")
    verdict = judge(row, known, page(*sources("1.0", yanked="bad")), NOW)
    assert {each.version for each in verdict.versions if each.yanked} == known.keys()
    assert judge(row, known, page(), NOW).gone == known.keys()


@pytest.mark.parametrize(
    ("here", "files", "substitute"),
    [
        (["1.1"], sources("0.9", "1.0"), "1.0"),
        (["1.1"], sources("1.0", "1.1rc1"), "1.0"),
        (["1.1"], sources("1.1rc1"), "1.1rc1"),
        (["1.1"], [*sources("0.9"), *sources("1.0", yanked=True)], "0.9"),
        (["1.1"], [*sources("0.9", "1.0"), *sources("1.1", yanked=True)], "1.0"),
        (["1.1"], [*sources("1.0"), *sources("1.1", yanked=True), *sources("1.2")], "1.0"),
        (["0.5", "1.1"], sources("0.5", "1.0"), "1.0"),
        (["1.0", "1.1"], sources("0.9", "1.0"), None),
        (["1.0", "1.1"], sources("0.9", "1.1"), None),
        (["1.1"], sources("1.0", "1.1"), None),
        (["1.1"], [file("foo-1.0-py3-none-any.whl")], None),
        ([], sources("1.0"), None),
    ],
)
def test_the_release_before_takes_the_place_of_a_lost_one(here, files, substitute):
    known = {version: KnownVersion([f"foo-{version}.tar.gz"]) for version in here}
    row = WatchedRow("foo", True, "1.1", NOW)
    verdict = judge(row, known, page(*files), NOW)
    found = verdict.substitute
    assert (found and found[:4]) == (
        substitute and ("foo", substitute, NOW, (f"foo-{substitute}.tar.gz",))
    )
    assert judge(row._replace(pinned=True), known, page(*files), NOW).substitute is None


def test_a_release_that_an_operator_removed_does_not_replace_a_yanked_one_again():
    known = {"1.1": KnownVersion(["foo-1.1.tar.gz"], yanked=True)}
    files = [*sources("1.0"), *sources("1.1", yanked=True)]
    assert judge(WatchedRow("foo", True, "1.1", NOW), known, page(*files), NOW).substitute is None


def test_a_pinned_project_gets_no_other_versions():
    row = WatchedRow("foo", pinned=True)
    known = {"1.0": KnownVersion([])}
    verdict = judge(row, known, page(*sources("1.0", "2.0"), *sources("1.0", days=1)), NOW)
    assert ([each.version for each in verdict.versions], verdict.new) == (["1.0"], [])
    assert verdict.row == row._replace(found=True, polled=True)


@pytest.mark.parametrize(
    ("files", "wheels"),
    [
        (sources("1.0"), ""),
        ([file("foo-1.0-py3-none-any.whl")], "pure"),
        ([file("foo-1.0-cp311-cp311-linux_x86_64.whl")], "native"),
        ([file("foo-1.0-py3-none-win32.whl")], "native"),
        ([file("foo-1.0-py3-none-any.whl"), file("foo-1.0-cp311-cp311-win32.whl")], "pure"),
    ],
)
def test_the_kind_of_upstreams_wheels(files, wheels):
    assert page(*files).releases[Version("1")].wheels == wheels
