"""Reports for the consoles: the past events of a slave, and the outcomes of builds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from piwheels.core.protocols import Outcome
from piwheels.master.logic.effects import Publish
from piwheels.master.logic.slave_state import target_of

if TYPE_CHECKING:
    from datetime import datetime

    from piwheels.core.states import Instant, SlaveState
    from piwheels.master.logic.intake import Intake

#: How many statistics a replay has in all: of each slave the newest, at least one. So 150 slaves
#: show all that is kept of them, 500 show 30 each, and a replay of the largest farm is less than
#: the high-water mark of a socket (100,000 messages).
REPLAYED_STATS = 15_000


def stats_each(slaves: int) -> int:
    """Return how many statistics of each slave a replay has, for this number of *slaves*."""
    return max(1, REPLAYED_STATS // max(1, slaves))


def replay_of(slave: SlaveState, stats: int) -> list[Publish]:
    """Return a slave's past events: greeting, *stats* newest statistics, build, last reply."""
    number, greeted = slave.slave_id, slave.first_seen
    assert greeted is not None  # noqa: S101 (whoever has a number has said HELLO)
    events = [Publish(number, greeted, "HELLO", slave.info)]
    events += [Publish(number, one.timestamp, "STATS", one) for one in list(slave.stats)[-stats:]]
    if slave.build is not None and slave.build_began is not None:
        job = slave.build.package, slave.build.version
        events.append(Publish(number, slave.build_began.at, "BUILD", job))
    if slave.reply is not None and slave.reply[0] in ("SLEEP", "SEND", "DONE"):
        events.append(Publish(number, slave.replied_at or greeted, *slave.reply))
    return events


def skipped(slave: SlaveState, instant: Instant) -> Outcome:
    """Return the outcome of a build that somebody has skipped."""
    began = slave.build_began or instant
    took = timedelta(seconds=instant.now - began.now)
    about = slave.slave_id, slave.label, *target_of(slave)
    return Outcome(None, *about, "skipped", took, 0, instant.at)


def outcome_of(intake: Intake, ended: datetime) -> Outcome | None:
    """Return the outcome of an intake that has ended; ``None`` if its build was not stored."""
    build = intake.build
    if build.build_id is None:
        return None
    return Outcome(
        build.build_id, build.slave_id, intake.label, *intake.target,
        "ok" if build.status else "failed", build.duration, len(build.files), ended,
    )  # fmt: skip
