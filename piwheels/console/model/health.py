"""Alerts of a slave, by rules with limits.

A value of 0 means unknown. The number of cores is unknown too: boards of the farm have four, so a
load of 8 is worth two builds.
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
    """An alert of *weight* from *limit* on, and of *heavy* from *worse* on.

    An alert stays until the value falls below *release*, so that it does not flicker. *value*
    reads a slave's newest stats, or the slave; it returns ``None`` if the value is unknown.
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
        """Return the weight of *value*, 0 for no alert; *before* is the current alert, if any."""
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
    if slave.skew is None or slave.is_behind:
        return None
    return abs(slave.skew.total_seconds())


def _slow(slave: Slave) -> float | None:
    ratio = slave.ratio
    return ratio if ratio is not None and ratio >= slave.slow_from else None


def _percent(value: float) -> str:
    return f"{value:.0f}%"


def _span(value: float) -> str:
    return short_span(timedelta(seconds=value))


_times = "x{:.1f}".format
_count = "x{:.0f}".format
_STATS_RULES: Final = (
    Rule("disk", 82, 85, 95, 1, 3, _disk, _percent),
    Rule("mem", 87, 92, 98, 1, 2, _mem, _percent),
    Rule("swap", 45, 60, 90, 1, 2, _swap, _percent),
    Rule("load", 6, 8, 16, 1, 2, lambda stats: stats.load_average, "{:.1f}".format),
    Rule("temp", 75, 78, 85, 1, 2, lambda stats: stats.cpu_temp, "{:.0f}C".format),
)
_SLAVE_RULES: Final = (
    Rule("clock", 20, 30, 3600, 1, 2, _skew, _span),
    Rule("slow", 0, 0, 8, 1, 2, _slow, _times),
    Rule("flapping", 3, 3, inf, 2, 2, lambda slave: slave.joins, _count),
    Rule("label", 1, 1, inf, 2, 2, lambda slave: float(slave.twin), lambda _: "twice"),
    Rule("failing", 3, 3, inf, 2, 2, lambda slave: slave.failures, _count),
)
#: The alerts of the machine, which all lanes of a host have in common.
MACHINE: Final = frozenset((*(rule.reason for rule in _STATS_RULES), "clock"))
#: The step in which the alert shows the length of a silence.
_STEP: Final = timedelta(seconds=30)


def judge(slave: Slave, now: datetime) -> tuple[Alert, ...]:
    """Return the alerts of *slave* at *now* (console time), the most severe first."""
    state = slave.state_at(now)
    if state is State.DEAD:
        return ()
    before = {alert.reason: alert for alert in slave.alerts}
    found = []
    if state is State.EXPIRED or state is State.SILENT:
        reason, weight = ("expired", 3) if state is State.EXPIRED else ("no msg", 2)
        silence = now - slave.last_contact
        silence -= silence % _STEP if silence > _STEP else timedelta()
        since = before[reason].since if reason in before else now
        found.append(Alert(reason, short_span(silence), since, weight))
    if slave.stats and not slave.is_behind:
        found += _broken(_STATS_RULES, slave.stats[-1], before, now)
    found += _broken(_SLAVE_RULES, slave, before, now)
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
    """Return details of an alert of *slave*, whose build has taken *elapsed* so far."""
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
            return "it joins repeatedly"
        case "label":
            return "another slave has this label; give each its own --label"
    return ""


#: How full the master's disk is before the journal says so, in percent.
_MASTER_DISK: Final = 85


def disk_step(stats: MasterStats) -> int:
    """Return how full the master's disk is, in whole percent; 0 below the limit."""
    full = _disk(stats)
    return 0 if full is None or full < _MASTER_DISK else int(full)
