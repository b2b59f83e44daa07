"""The reasons for the place of a version in a queue."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.core.database.rows import PositionRow
from piwheels.master.logic.positions import position

SINCE = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROW = PositionRow("linux_armv7l", "cp311", 3, 90, "", SINCE, SINCE, SINCE, 0, "", None)
WAITS = "has waited since 2026-11-24 12:00 UTC"


@pytest.mark.parametrize(
    ("about", "reasons"),
    [
        ({}, []),
        ({"urgency": "first"}, ["an operator has put it first"]),
        ({"urgency": "security"}, ["a security release: 90 days earlier"]),
        (
            {"popularity": 3},
            ["popular: its downloads of 30 days have 3 digits: 21 days earlier"],
        ),
        ({"released": SINCE - timedelta(days=105)}, ["released 2026-08-11: 10 days later"]),
        ({"released": SINCE - timedelta(days=9999)}, ["released 1999-07-10: 365 days later"]),
        ({"released": SINCE + timedelta(days=20)}, []),
        (
            {"failed_at": SINCE},
            [
                "failed at 2026-11-24 12:00 UTC: a slave of another owner may try it, the same one"
                " a day later"
            ],
        ),
        (
            {"platform": "any", "abi_tag": "any", "exclusive": "version"},
            ["it has no build yet: a slave of any target may begin"],
        ),
        (
            {"exclusive": "version"},
            ["one target of this version is built at a time: its wheel may serve the others"],
        ),
        (
            {"exclusive": "platform"},
            ["one target of each platform is built at a time: its wheel may serve the others"],
        ),
    ],
)
def test_the_reasons_for_a_place(about, reasons):
    row = ROW._replace(**about)
    assert position(row) == (row.platform, row.abi_tag, 3, 90, [WAITS, *reasons])
