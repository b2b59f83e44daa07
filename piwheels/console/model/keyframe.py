"""A farm as a list of events that recreate it: the keyframes of a recording."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model.clock import without
from piwheels.console.model.slave import State
from piwheels.core.codec import NoData
from piwheels.core.protocols import BuildOutcome, Job, SlaveEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from piwheels.console.model.events import Event
    from piwheels.console.model.slave import PastBuild, Slave

_ZERO: Final = timedelta()
_SLEEPS: Final = {State.SLEEP: False, State.PAUSE: True}


def of_slave(slave: Slave, last_contact: datetime) -> Iterator[SlaveEvent]:
    """Yield a slave's events, oldest first; *last_contact* is by the master's clock."""
    yield SlaveEvent(slave.id, slave.joined, "HELLO", slave.info)
    for stats in slave.stats:
        at = without(stats.timestamp, slave.skew or _ZERO)
        yield SlaveEvent(slave.id, at, "STATS", stats)
    if slave.job is not None:
        yield SlaveEvent(slave.id, slave.job_since or slave.since, "BUILD", Job(*slave.job))
    reply = _reply(slave)
    if reply is not None:
        yield SlaveEvent(slave.id, slave.since, *reply)
        latest = max(slave.reported_at, last_contact)
        if slave.reported in _SLEEPS and latest > slave.since:
            yield SlaveEvent(slave.id, latest, *reply)


def _reply(slave: Slave) -> tuple[str, Any] | None:
    """Return the last reply to the slave, if it says more than its build."""
    match slave.reported:
        case State.SLEEP | State.PAUSE:
            return "SLEEP", _SLEEPS[slave.reported]
        case State.SEND:
            return "SEND", slave.file
        case State.CLEAN:
            return "DONE", NoData
        case State.DEAD:
            return "DIE", NoData
    return None


def of_builds(builds: Iterable[PastBuild]) -> Iterator[Event]:
    """Yield the builds with known results."""
    for one in builds:
        match one.result:
            case "ok" | "failed" | "skipped" as result if one.duration is not None:
                yield BuildOutcome(
                    one.build_id, one.slave_id, one.label, one.package, one.version, one.abi,
                    result, one.duration, one.files, one.ended, one.again, one.platform,
                    one.reason, one.subject, one.cause, one.counts, one.recipe, one.retry_at,
                )  # fmt: skip
