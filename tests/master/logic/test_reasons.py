"""What a page says of the failures by their class."""

from datetime import UTC, datetime

import pytest

from piwheels.core.database.rows import ReasonCount, TargetRow
from piwheels.master.logic import reasons
from piwheels.master.logic.reasons import reason_lines, suggested_release

COUNTS = [
    ReasonCount("missing-header", "ssl.h", 30, 14),
    ReasonCount("compile-error", "", 21, 20),
    ReasonCount("", "", 3, 3),
    ReasonCount("missing-header", "ffi.h", 2, 1),
    ReasonCount("of-the-future", "x", 2, 2),
]


def test_classes_are_listed_with_what_they_are_about(monkeypatch):
    monkeypatch.setattr(
        reasons,
        "packages_for",
        lambda *asked: ["libssl-dev"] if asked == ("missing-header", "ssl.h", "trixie") else [],
    )
    header, error, unknown = reason_lines(COUNTS, "trixie")
    assert header[:3] == ("missing header", "failures.html#missing-header", 32)
    assert header.subjects == [
        ("ssl.h", "apt install libssl-dev on the boards would build 14 projects"),
        ("ffi.h", "1 project"),
    ]
    assert (error.title, error.builds, error.subjects) == ("compile error", 21, [])
    assert unknown[:3] == ("unknown", "failures.html#unknown", 5)


def test_few_subjects_are_listed():
    many = [ReasonCount("missing-header", f"{number}.h", 1, 1) for number in range(99)]
    [line] = reason_lines(many, "trixie")
    assert (line.builds, len(line.subjects)) == (99, reasons.SUBJECTS)


@pytest.mark.parametrize(
    ("systems", "release"),
    [
        ([], "trixie"),
        (["", "Fedora 42"], "trixie"),
        (["", "Debian 12", "Debian 13"], "bookworm"),
        (["Raspbian GNU/Linux (Bookworm)"], "bookworm"),
        (["trixie"], "trixie"),
    ],
)
def test_packages_are_those_of_the_release_of_the_targets(systems, release):
    since = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [TargetRow("linux_armv7l", "cp311", 0, "", each, since, 0) for each in systems]
    assert suggested_release(rows) == release
