"""The reasons for the place of a version in a queue, in words. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from piwheels.core.protocols import Position
from piwheels.core.words import counted, time_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.core.database.rows import PositionRow

#: The head starts of ``_due`` in ``sql/functions``, in days, and the largest delay of old releases.
_SECURITY, _DIGIT, _OLDEST = 90, 7, timedelta(days=365)
_EXCLUSIVE: Final = {
    "version": "one target of this version is built at a time: its wheel may serve the others",
    "platform": "one target of each platform is built at a time: its wheel may serve the others",
}


def position(row: PositionRow) -> Position:
    """Return the place of a version for a target, and the reasons."""
    return Position(row.platform, row.abi_tag, row.place, row.of, list(_reasons(row)))


def _reasons(row: PositionRow) -> Iterator[str]:
    yield f"has waited since {time_text(row.since)}"
    if row.urgency == "first":
        yield "an operator has put it first"
    elif row.urgency == "security":
        yield f"a security release: {_SECURITY} days earlier"
    if row.popularity:
        digits = counted(row.popularity, "digit")
        earlier = counted(_DIGIT * row.popularity, "day")
        yield f"popular: its downloads of 30 days have {digits}: {earlier} earlier"
    if later := min(max(row.since - row.released, timedelta()) / 10, _OLDEST).days:
        yield f"released {time_text(row.released)[:10]}: {counted(later, 'day')} later"
    if row.failed_at is not None:
        about = "a slave of another owner may try it, the same one a day later"
        yield f"failed at {time_text(row.failed_at)}: {about}"
    elif row.abi_tag == "any":
        yield "it has no build yet: a slave of any target may begin"
    elif row.exclusive:
        yield _EXCLUSIVE[row.exclusive]
