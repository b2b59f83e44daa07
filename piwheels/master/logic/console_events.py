"""Events for the consoles: the past events of a slave, and the outcomes of builds. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from piwheels.core.protocols import BuildOutcome
from piwheels.core.text import clean
from piwheels.master.logic.effects import Publish
from piwheels.master.logic.slave_state import assignment_of

if TYPE_CHECKING:
    from datetime import datetime

    from piwheels.core.states import Instant, SlaveState
    from piwheels.master.logic.intake import Intake

#: The number of statistics in a replay of all slaves: the newest of each slave, at least one. So
#: a replay has all statistics of 150 slaves, 30 each of 500 slaves, and for the largest farm fewer
#: messages than the high-water mark of a socket (100,000).
REPLAYED_STATS = 15_000


def stats_per_slave(slaves: int) -> int:
    """Return how many statistics of each slave a replay of this number of *slaves* has."""
    return max(1, REPLAYED_STATS // max(1, slaves))


def replay_of(slave: SlaveState, stats: int) -> list[Publish]:
    """Return a slave's past events: greeting, *stats* newest statistics, build, last reply."""
    number, greeted = slave.slave_id, slave.first_seen
    assert greeted is not None  # noqa: S101 (a slave with a number has sent HELLO)
    events = [Publish(number, greeted, "HELLO", slave.info)]
    events += [Publish(number, at, "STATS", one) for at, one in list(slave.stats)[-stats:]]
    if slave.build is not None and slave.build_began is not None:
        job = slave.build.package, slave.build.version
        events.append(Publish(number, slave.build_began.at, "BUILD", job))
    if slave.reply is not None and slave.reply[0] in ("SLEEP", "SEND", "DONE"):
        events.append(Publish(number, slave.replied_at or greeted, *slave.reply))
    return events


def skipped_outcome(slave: SlaveState, instant: Instant) -> BuildOutcome:
    """Return the outcome of a build that an operator has skipped."""
    began = slave.build_began or instant
    took = timedelta(seconds=instant.now - began.now)
    package, version, target = assignment_of(slave)
    return BuildOutcome(
        None, slave.slave_id, slave.label, package, version, target.abi, "skipped", took, 0,
        instant.at,
    )  # fmt: skip


def outcome_of(intake: Intake, ended: datetime) -> BuildOutcome | None:
    """Return the outcome of a finished intake; ``None`` if its build was not stored."""
    build = intake.build
    if build.build_id is None:
        return None
    found, retry = build.diagnosis, build.retry
    return BuildOutcome(
        build.build_id, build.slave_id, intake.label, build.package, build.version, build.abi_tag,
        "ok" if build.status else "failed", build.duration, len(build.files), ended,
        again=not (build.final or intake.confirms or build.retry) and build.counts,
        platform=build.platform, reason=found.reason, subject=clean(found.subject, 200),
        cause=clean(found.cause, 8192), counts=build.counts, recipe="; ".join(build.recipe.words),
        retry_at=None if retry is None or retry.delay is None else ended + retry.delay,
    )  # fmt: skip
