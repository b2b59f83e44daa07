"""What is wrong with a slave: rules, each with a limit and the value below which it is over.

A value of 0 stands for one that is not known. How many cores a board has is not known either: all
that build for us have four, so a load of 8 is two builds' worth.
"""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.console.model.slave import Alert, State
from piwheels.console.text import clean, short_span, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from piwheels.console.model.slave import Slave
    from piwheels.core.states import MasterStats, SlaveStats


class Rule(NamedTuple):
    """An alert from *limit* on, of *weight*; from *worse* on it is of *heavy*.

    Once there it stays until the value is below *release*, so that it does not come and go. The
    *value* is of a slave's newest figures, or of the slave; ``None`` if it is not known.
    """

    reason: str
    release: float
    limit: float
    worse: float
    weight: int
    heavy: int
    value: Callable[[Any], float | None]
    text: Callable[[float], str]

    def weigh(self, value: float, before: Alert | None) -> int:
        """Return the weight of *value*, 0 for none; *before* is the alert that is there."""
        if value >= self.worse:
            return self.heavy
        return self.weight if value >= (self.limit if before is None else self.release) else 0


def _disk(stats: SlaveStats | MasterStats) -> float | None:
    return 100 * (1 - stats.disk_free / stats.disk_size) if stats.disk_size else None


def _mem(stats: SlaveStats) -> float | None:
    return 100 * (1 - stats.mem_free / stats.mem_size) if stats.mem_size else None


def _swap(stats: SlaveStats) -> float | None:
    return 100 * (1 - stats.swap_free / stats.swap_size) if stats.swap_size else None


def _skew(slave: Slave) -> float | None:
    return abs(slave.skew.total_seconds()) if slave.skew is not None else None


def _slow(slave: Slave) -> float | None:
    ratio = slave.ratio
    return ratio if ratio is not None and ratio >= slave.slow_from else None


def _percent(value: float) -> str:
    return f"{value:.0f}%"


def _span(value: float) -> str:
    return short_span(timedelta(seconds=value))


_times = "x{:.1f}".format
_count = "x{:.0f}".format
_OF_FIGURES: Final = (
    Rule("disk", 82, 85, 95, 1, 3, _disk, _percent),
    Rule("mem", 87, 92, 98, 1, 2, _mem, _percent),
    Rule("swap", 45, 60, 90, 1, 2, _swap, _percent),
    Rule("load", 6, 8, 16, 1, 2, lambda stats: stats.load_average, "{:.1f}".format),
    Rule("temp", 75, 78, 85, 1, 2, lambda stats: stats.cpu_temp, "{:.0f}C".format),
)
_OF_SLAVES: Final = (
    Rule("clock", 20, 30, 3600, 1, 2, _skew, _span),
    Rule("slow", 0, 0, 8, 1, 2, _slow, _times),
    Rule("flapping", 3, 3, inf, 2, 2, lambda slave: slave.joins, _count),
    Rule("failing", 3, 3, inf, 2, 2, lambda slave: slave.failures, _count),
)
#: How coarsely silence is told.
_STEP: Final = timedelta(seconds=30)


def judge(slave: Slave, now: datetime) -> tuple[Alert, ...]:
    """Return what is wrong with *slave* at *now* (this machine's clock), the worst first."""
    state = slave.state_at(now)
    if state is State.DEAD:
        return ()
    before = {alert.reason: alert for alert in slave.alerts}
    found = []
    if state is State.EXPIRED or state is State.SILENT:
        reason, weight = ("expired", 3) if state is State.EXPIRED else ("no msg", 2)
        silence = now - slave.heard
        silence -= silence % _STEP if silence > _STEP else timedelta()
        since = before[reason].since if reason in before else now
        found.append(Alert(reason, short_span(silence), since, weight))
    if slave.stats:
        found += _broken(_OF_FIGURES, slave.stats[-1], before, now)
    found += _broken(_OF_SLAVES, slave, before, now)
    found.sort(key=lambda alert: -alert.weight)
    return tuple(found)


def _broken(
    rules: Iterable[Rule], subject: SlaveStats | Slave, before: Mapping[str, Alert], now: datetime
) -> Iterator[Alert]:
    for rule in rules:
        value = rule.value(subject)
        if value is None or value < rule.release:
            continue
        old = before.get(rule.reason)
        if weight := rule.weigh(value, old):
            yield Alert(rule.reason, rule.text(value), now if old is None else old.since, weight)


def explain(slave: Slave, alert: Alert, elapsed: timedelta) -> str:
    """Return what more is to be said of an alert of *slave*, which has built for *elapsed*."""
    match alert.reason:
        case "no msg" | "expired":
            job = f"; it builds {clean(' '.join(slave.job))}" if slave.job else ""
            return f"its limit is {short_span(slave.info.busy_timeout)}{job}"
        case "slow" if slave.median is not None:
            usual = f"median {short_span(slave.median)} (n={slave.peers})"
            return f"{clean(' '.join(slave.job or ()))}: {short_span(elapsed)} vs {usual}"
        case "failing" if slave.outcome is not None:
            return f"last: {slave.outcome.package} {slave.outcome.version}"
        case "disk" | "mem" | "swap" if slave.stats:
            return f"of {size(getattr(slave.stats[-1], f'{alert.reason}_size'))}"
        case "flapping":
            return "it joins again and again"
    return ""


#: How full the master's disk is, in percent, before it is told of.
_MASTER_DISK: Final = 85


def disk_step(stats: MasterStats) -> int:
    """Return how full the master's disk is, in whole percent; 0 while there is room."""
    full = _disk(stats)
    return 0 if full is None or full < _MASTER_DISK else int(full)
