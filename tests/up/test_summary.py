from datetime import UTC, datetime, timedelta

import pytest

from piwheels.core.database.rows import BuildRow
from piwheels.up.summary import (
    Row,
    Target,
    install_line,
    installable,
    parse,
    parse_targets,
    rows_of,
    table,
)

ABIS = ["cp311", "cp313"]


def build(abi, *filenames, package="toy", version="1.0", number=1):
    took, when = timedelta(seconds=2.25), datetime(2026, 1, 1, tzinfo=UTC)
    return BuildRow(number, package, version, abi, bool(filenames), took, when, list(filenames))


def results(builds, *, pending=False):
    rows = rows_of(Target("toy", "toy", "1.0"), ABIS, builds, pending)
    return [(row.result, row.wheel, row.has_wheel) for row in rows]


@pytest.mark.parametrize("text", ["six", "zope.interface", "a==1", "Mark-Up_Safe==3.0.2rc1"])
def test_a_valid_target_is_parsed(text):
    assert parse(text) == text
    assert parse(text.replace("==", " == ")) == text


@pytest.mark.parametrize("text", ["", "-x", "a>=1", "a==", "a==1,2", "a==x", "a b", "a==1==2", "é"])
def test_an_invalid_target_is_refused(text):
    with pytest.raises(ValueError, match=r"neither NAME nor|not a version"):
        parse(text)


def test_targets_are_unique_by_canonical_name():
    targets = parse_targets(["Zope.Interface", "six==1", "zope-interface", "six"])
    assert [(target.spec, *target.key) for target in targets] == [
        ("Zope.Interface", "zope-interface", ""),
        ("six==1", "six", "1"),
        ("six", "six", ""),
    ]


def test_a_native_wheel_serves_its_own_abi():
    native = "toy-1.0-cp311-cp311-linux_x86_64.whl"
    assert results([build("cp311", native)], pending=True) == [
        ("built", native, True),
        ("waiting", "", False),
    ]


@pytest.mark.parametrize(
    "wheel", ["toy-1.0-py3-none-any.whl", "toy-1.0-cp36-abi3-linux_x86_64.whl"]
)
def test_a_portable_wheel_serves_the_other_abis(wheel):
    assert results([build("cp311", wheel)]) == [("built", wheel, True), ("as cp311", wheel, True)]


def test_an_abi3_wheel_serves_no_older_abi():
    wheel = "toy-1.0-cp313-abi3-linux_x86_64.whl"
    assert results([build("cp313", wheel)])[0] == ("not tried", "", False)


def test_a_build_without_files_is_a_failure():
    assert results([build("cp311"), build("cp313")]) == [("failed", "", False)] * 2


def test_a_problem_has_a_row_of_its_own():
    target = Target("toy", "toy", "", "not found", "why")
    assert [(row.abi, row.result) for row in rows_of(target, ABIS, [], pending=False)] == [
        ("", "not found")
    ]


def test_the_table_is_aligned():
    rows = rows_of(
        Target("toy", "toy", "1.0"),
        ABIS,
        [build("cp311", "toy-1.0-py3-none-any.whl")],
        pending=False,
    )
    lines = table(rows)
    assert lines[0].split() == ["package", "version", "ABI", "result", "seconds", "wheel"]
    assert [line.index("toy-1.0") for line in lines[2:]] == [lines[0].index("wheel")] * 2
    assert "2.2" in lines[2]


def test_one_version_of_a_project_is_installed_the_newest_that_was_built():
    targets = parse_targets(["toy==1.9", "other", "toy==1.10", "toy==1.2", "toy==2.0"])
    targets[1].version = "3"
    rows = [
        Row(*target.key, "cp311", "built", 1.0, "" if target.version == "2.0" else "a.whl")
        for target in targets
    ]
    assert installable(targets, rows) == ["toy==1.10", "other"]


def test_only_packages_with_a_wheel_are_installed():
    targets = [Target("Toy", "toy", "1.0"), Target("bad==2", "bad", "2")]
    rows = rows_of(targets[0], ABIS, [build("cp311", "toy-1.0-py3-none-any.whl")], pending=False)
    assert installable(targets, rows) == ["Toy"]
    assert install_line("http://h/simple/", ["Toy", "b==1"], "h") == (
        "pip install --index-url http://h/simple/ --trusted-host h Toy b==1"
    )
