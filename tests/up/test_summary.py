from datetime import UTC, datetime, timedelta

import pytest

from piwheels.core import targets
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

PC = [targets.Target("linux_x86_64", abi) for abi in ("cp311", "cp313")]
BOARD = targets.Target("linux_armv7l", "cp311")


def build(abi, *filenames, platform="linux_x86_64", number=1, **more):
    about = number, "toy", "1.0", abi, platform, bool(filenames)
    took, when = timedelta(seconds=2.25), datetime(2026, 1, 1, tzinfo=UTC)
    return BuildRow(*about, took, when, list(filenames), **more)


def rows(target, builds, waiting=(), others=()):
    return rows_of(target, PC, others, builds, waiting, name=lambda each: each.words)


def results(builds, waiting=(), others=()):
    found = rows(Target("toy", "toy", "1.0"), builds, waiting, others)
    return [(row.result, row.wheel, row.has_wheel) for row in found]


@pytest.mark.parametrize("text", ["six", "zope.interface", "a==1", "Mark-Up_Safe==3.0.2rc1"])
def test_a_valid_target_is_parsed(text):
    assert parse(text) == text
    assert parse(text.replace("==", " == ")) == text


@pytest.mark.parametrize("text", ["", "-x", "a>=1", "a==", "a==1,2", "a==x", "a b", "a==1==2", "é"])
def test_an_invalid_target_is_refused(text):
    with pytest.raises(ValueError, match=r"neither NAME nor|not a version"):
        parse(text)


def test_targets_are_unique_by_canonical_name():
    found = parse_targets(["Zope.Interface", "six==1", "zope-interface", "six"])
    assert [(target.spec, *target.key) for target in found] == [
        ("Zope.Interface", "zope-interface", ""),
        ("six==1", "six", "1"),
        ("six", "six", ""),
    ]


def test_a_native_wheel_serves_its_own_abi():
    native = "toy-1.0-cp311-cp311-linux_x86_64.whl"
    assert results([build("cp311", native)], [PC[1]]) == [
        ("built", native, True),
        ("waiting", "", False),
    ]


@pytest.mark.parametrize(
    "wheel", ["toy-1.0-py3-none-any.whl", "toy-1.0-cp36-abi3-linux_x86_64.whl"]
)
def test_a_portable_wheel_serves_the_other_abis(wheel):
    assert results([build("cp311", wheel)]) == [
        ("built", wheel, True),
        ("as cp311 x86_64", wheel, True),
    ]


def test_an_abi3_wheel_serves_no_older_abi():
    wheel = "toy-1.0-cp313-abi3-linux_x86_64.whl"
    assert results([build("cp313", wheel)])[0] == ("not tried", "", False)


def test_a_build_without_files_is_a_failure():
    assert results([build("cp311"), build("cp313")]) == [("failed", "", False)] * 2


OLDER = {"constraints": ["setuptools<58"]}
LATER = datetime(2026, 1, 2, tzinfo=UTC)
TOO_NEW = {"reason": "tools-too-new", "subject": "setuptools<58", "cause": "use_2to3 is invalid"}
FULL = {"reason": "disk-full", "cause": "no space left", "counts": False, "retry_at": LATER}
WHEEL = "toy-1.0-cp311-cp311-linux_x86_64.whl"


@pytest.mark.parametrize(
    ("builds", "words", "reason", "number", "retry_at"),
    [
        ([TOO_NEW], "failed", "tools-too-new", 1, None),
        ([FULL], "put off", "disk-full", 1, LATER),
        ([TOO_NEW, FULL], "failed", "tools-too-new", 1, LATER),
        ([FULL, TOO_NEW], "failed", "tools-too-new", 2, None),
        ([TOO_NEW, {"reason": "link-error", "recipe": OLDER}], "failed", "tools-too-new", 1, None),
        ([TOO_NEW, {"reason": "link-error"}], "failed", "link-error", 2, None),
        ([TOO_NEW, {"recipe": OLDER, "status": True}], "built with setuptools<58", None, 2, None),
        ([{"status": True}, FULL], "built", None, 1, None),
        ([{"status": True}, {"recipe": OLDER, **TOO_NEW}], "failed", "tools-too-new", 2, None),
    ],
)
def test_a_row_tells_the_failure_that_says_the_most(builds, words, reason, number, retry_at):
    made = []
    for at, about in enumerate(builds, 1):
        files = [WHEEL] if about.get("status") else []
        more = {name: value for name, value in about.items() if name != "status"}
        made.append(build("cp311", *files, number=at, **more))
    row = rows(Target("toy", "toy", "1.0"), made)[0]
    assert (row.words, row.build_id, row.retry_at) == (words, number, retry_at)
    assert (row.diagnosis and row.diagnosis.reason) == reason
    assert row.has_wheel is (reason is None)


def test_a_wheel_serves_no_other_platform():
    native = "toy-1.0-cp311-cp311-linux_x86_64.whl"
    board = native.replace("x86_64", "armv7l")
    builds = [build("cp311", native), build("cp311", board, platform="linux_armv7l", number=2)]
    assert results(builds) == [("built", native, True), ("not tried", "", False)]
    assert results(builds, others=[BOARD])[2] == ("built", board, True)
    assert results(builds[:1], [BOARD], [BOARD])[2] == ("waiting", "", False)
    assert results(builds[1:]) == [("not tried", "", False)] * 2


def test_a_pure_wheel_of_a_board_serves_this_machine_and_has_one_further_row():
    pure = "toy-1.0-py3-none-any.whl"
    builds = [build("cp311", pure, platform="linux_armv7l")]
    served = ("as cp311 armv7l", pure, True)
    unused = targets.Target("linux_aarch64", "cp311")
    assert results(builds, others=[BOARD, unused]) == [served, served, ("built", pure, True)]


def test_a_build_of_an_unknown_platform_counts_for_all():
    assert results([build("cp311", platform="")])[0] == ("failed", "", False)


def test_a_release_for_other_pythons_has_no_result_for_this_one():
    pure = build("cp313", "toy-1.0-py3-none-any.whl")
    target = Target("toy", "toy", "1.0", requires=">=3.12", excluded=0xFFF)
    found = rows(target, [build("cp311"), pure])
    assert [row.result for row in found] == ["not for this Python (requires >=3.12)", "built"]
    assert [row.requires for row in found] == [">=3.12", ""]
    assert not found[0].has_wheel


def test_a_problem_has_a_row_of_its_own():
    target = Target("toy", "toy", "", "not found", "why")
    assert [(row.abi, row.result) for row in rows(target, [])] == [("", "not found")]


def test_the_table_is_aligned():
    found = rows(Target("toy", "toy", "1.0"), [build("cp311", "toy-1.0-py3-none-any.whl")])
    lines = table(found, lambda each: each.words)
    assert lines[0].split() == ["package", "version", "ABI", "result", "seconds", "wheel"]
    assert [line.index("toy-1.0") for line in lines[2:]] == [lines[0].index("wheel")] * 2
    assert "2.2" in lines[2]


def test_one_version_of_a_project_is_installed_the_newest_that_was_built():
    wanted = parse_targets(["toy==1.9", "other", "toy==1.10", "toy==1.2", "toy==2.0"])
    wanted[1].version = "3"
    found = [
        Row(*target.key, "cp311", "built", 1.0, "" if target.version == "2.0" else "a.whl")
        for target in wanted
    ]
    assert installable(wanted, found) == ["toy==1.10", "other"]


def test_only_packages_with_a_wheel_are_installed():
    wanted = [Target("Toy", "toy", "1.0"), Target("bad==2", "bad", "2")]
    found = rows(wanted[0], [build("cp311", "toy-1.0-py3-none-any.whl")])
    assert installable(wanted, found) == ["Toy"]
    assert install_line("http://h/simple/", ["Toy", "b==1"], "h") == (
        "pip install --index-url http://h/simple/ --trusted-host h Toy b==1"
    )
