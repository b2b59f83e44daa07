"""What the consoles are told of slaves and of builds that have ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from piwheels.core.protocols import Outcome
from piwheels.master.logic.effects import Publish
from piwheels.master.logic.slaves import target_of

if TYPE_CHECKING:
    from datetime import datetime

    from piwheels.core.states import SlaveState
    from piwheels.master.logic.intake import Intake

#: How many of the slaves' figures a replay tells in all: of each slave the newest, at least one. So
#: 150 slaves show all that is kept of them, 500 show 30 each, and a replay of the largest farm is
#: less than what may wait in a socket (100,000 messages).
REPLAYED_STATS = 15_000


def figures_each(slaves: int) -> int:
    """Return how many figures of each slave a replay tells if there are so many *slaves*."""
    return max(1, REPLAYED_STATS // max(1, slaves))


def told_of(slave: SlaveState, intake: Intake | None, figures: int) -> list[Publish]:
    """Return what a console has to know of a slave: greeting, newest figures, build, last reply."""
    number, greeted = slave.slave_id, slave.first_seen
    assert greeted is not None  # noqa: S101 (whoever has a number has said HELLO)
    told = [Publish(number, greeted, "HELLO", slave.info)]
    newest = list(slave.stats)[-figures:]
    told += [Publish(number, stats.timestamp, "STATS", stats) for stats in newest]
    if slave.job is not None:
        told.append(Publish(number, slave.job_since or greeted, "BUILD", slave.job))
    elif intake is not None:
        told.append(Publish(number, intake.since, "BUILD", intake.target[:2]))
    if slave.reply is not None and slave.reply[0] in ("SLEEP", "SEND", "DONE"):
        told.append(Publish(number, slave.replied_at or greeted, *slave.reply))
    return told


def skipped(slave: SlaveState, now: datetime) -> Outcome:
    """Return the outcome of a build that is given up because somebody wants it so."""
    took = max(now - (slave.job_since or now), timedelta(0))
    about = slave.slave_id, slave.label, *target_of(slave)
    return Outcome(None, *about, "skipped", took, 0, now)


def outcome_of(intake: Intake, now: datetime) -> Outcome | None:
    """Return how the build of an intake that has ended is kept; ``None`` if it is not."""
    build = intake.build
    if build.build_id is None:
        return None
    return Outcome(
        build.build_id, build.slave_id, intake.label, *intake.target,
        "ok" if build.status else "failed", build.duration, len(build.files), now,
    )  # fmt: skip
