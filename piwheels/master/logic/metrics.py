"""What TheSentinel knows of the master: its health, and its metrics for Prometheus. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from piwheels import __version__
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.tasks import BUCKETS
from piwheels.master.messages import (
    FleetSeen,
    PagesPending,
    StatsPublished,
    TargetsSeen,
    TasksSeen,
    TransfersCounted,
    UpstreamSeen,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from piwheels.core.protocols import BuildOutcome
    from piwheels.core.states import MasterStats
    from piwheels.master.messages import TaskReport

#: Seconds after which a report about the tasks, which comes every second, is too old.
FRESH: Final = 10.0
#: The most ABIs that get a label of their own: the others are counted together.
MAX_ABIS: Final = 100

#: The statistics of the farm: metric, field, description.
_STATS: Final = (
    ("packages_built", "packages_built", "Packages with a wheel."),
    ("files", "files_count", "Published files."),
    ("builds_bytes", "builds_size", "Total size of the published files."),
    ("new_versions_last_hour", "new_last_hour", "Versions registered in the last hour."),
    ("downloads_last_hour", "downloads_last_hour", "Downloads in the last hour."),
    ("downloads_last_month", "downloads_last_month", "Downloads in the last 30 days."),
    ("disk_size_bytes", "disk_size", "Size of the site's file system."),
    ("disk_free_bytes", "disk_free", "Free space of the site's file system."),
    ("memory_size_bytes", "mem_size", "Memory of the master's machine."),
    ("memory_free_bytes", "mem_free", "Available memory of the master's machine."),
    ("load_average", "load_average", "Load average of the master's machine in the last minute."),
)


class Metrics:
    """The last reports of the other tasks, and the counts that follow from them."""

    def __init__(self) -> None:
        self._tasks: tuple[float, TasksSeen] | None = None
        self._stats: MasterStats | None = None
        self._fleet = FleetSeen({}, [])
        self._targets: TargetsSeen | None = None
        self._transfers: TransfersCounted | None = None
        self._pages: int | None = None
        self._upstream: UpstreamSeen | None = None
        self._builds: Counter[tuple[str, str]] = Counter()
        #: Failures by the codes of their classes, and builds that only a recipe has made succeed.
        self._failures: Counter[str] = Counter()
        self._cured = 0
        self._lost = 0
        #: Webhooks: how many wait, and how many ended in each way.
        self.webhooks_waiting = 0
        self.webhooks: Counter[str] = Counter()

    def take(
        self,
        message: TasksSeen
        | StatsPublished
        | FleetSeen
        | TargetsSeen
        | TransfersCounted
        | PagesPending
        | UpstreamSeen,
        now: float,
    ) -> None:
        """Keep a report that arrived at *now* (monotonic)."""
        match message:
            case TasksSeen():
                self._tasks = now, message
            case StatsPublished(stats):
                self._stats = stats
            case FleetSeen(lost=lost):
                self._fleet = message
                self._lost += len(lost)
            case TargetsSeen():
                self._targets = message
            case TransfersCounted():
                self._transfers = message
            case PagesPending(count):
                self._pages = count
            case UpstreamSeen():
                self._upstream = message

    def count_build(self, outcome: BuildOutcome | None, abi: str = "") -> None:
        """Count the end of a build; ``None``: the version will be built again."""
        result, abi = ("again", abi) if outcome is None else (outcome.result, outcome.abi)
        if outcome is not None and result == "failed":
            result = "failed" if outcome.counts else "put-off"
            self._failures[Diagnosis(outcome.reason).about.code] += 1
        elif outcome is not None and result == "ok":
            self._cured += bool(outcome.recipe)
        if len({known for known, _ in self._builds}) >= MAX_ABIS:
            abi = "other"
        self._builds[abi, result] += 1

    # Health -------------------------------------------------------------------------------------

    def problems(self, now: float) -> list[str]:
        """Return why the master is not healthy; nothing if every task is alive and runs."""
        if self._tasks is None:
            return ["the master is starting"]
        at, report = self._tasks
        if now - at > FRESH:
            return [f"the main thread has been silent for {now - at:.0f} s"]
        return [f"{task.name} {why}" for task in report.tasks if (why := _problem(task))]

    # Metrics ------------------------------------------------------------------------------------

    def collect(self, now: float) -> Iterator[Metric]:
        """Yield all metrics. What no task has reported yet is missing."""
        yield InfoMetricFamily("piwheels_master", "This master.", {"version": __version__})
        yield GaugeMetricFamily(
            "piwheels_healthy", "1 if every task is alive and runs.", value=not self.problems(now)
        )
        if self._tasks is not None:
            yield from _tasks(self._tasks[1].tasks)
        if (stats := self._stats) is not None:
            yield _gauges(
                "queue_versions", "Versions that wait to be built.", "abi", stats.builds_pending
            )
            for name, field, text in _STATS:
                value = getattr(stats, field)
                yield GaugeMetricFamily(f"piwheels_{name}", text, value=value)
        yield self._built()
        yield _counts("failures", "Failed builds since the start.", "reason", self._failures)
        yield CounterMetricFamily(
            "piwheels_builds_cured", "Builds that succeeded with a recipe.", value=self._cured
        )
        yield _gauges("slaves", "Slaves by state.", "state", self._fleet.by_state)
        yield CounterMetricFamily(
            "piwheels_slaves_lost", "Slaves that were declared dead.", value=self._lost
        )
        yield from self._others()

    def _built(self) -> Metric:
        found = CounterMetricFamily(
            "piwheels_builds",
            "Builds since the start, by ABI and result.",
            labels=("abi", "result"),
        )
        for labels, count in sorted(self._builds.items()):
            found.add_metric(labels, count)
        return found

    def _others(self) -> Iterator[Metric]:
        if self._targets is not None:
            yield from _of_targets(self._targets)
        if (seen := self._transfers) is not None:
            yield GaugeMetricFamily(
                "piwheels_transfers_open", "Files that are expected.", value=seen.open
            )
            yield GaugeMetricFamily(
                "piwheels_transfers_missing_bytes", "Their bytes to come.", value=seen.missing
            )
            yield _counts("transfers", "Ended transfers by result.", "result", seen.ended)
            yield CounterMetricFamily(
                "piwheels_transfers_received_bytes", "Bytes of chunks.", value=seen.received
            )
        if self._pages is not None:
            yield GaugeMetricFamily(
                "piwheels_pages_pending", "Projects whose pages wait.", value=self._pages
            )
        if (upstream := self._upstream) is not None:
            yield GaugeMetricFamily(
                "piwheels_upstream_lag_seconds",
                "Seconds since the upstream index last answered.",
                value=upstream.lag,
            )
            yield CounterMetricFamily(
                "piwheels_upstream_requests", "Requests to the index.", value=upstream.requests
            )
            yield CounterMetricFamily(
                "piwheels_upstream_received_bytes", "Its answers.", value=upstream.received
            )
        yield GaugeMetricFamily(
            "piwheels_webhooks_waiting", "Webhooks to deliver.", value=self.webhooks_waiting
        )
        yield _counts("webhooks", "Ended webhooks by result.", "result", self.webhooks)


def _problem(task: TaskReport) -> str:
    if not task.alive:
        return "has ended"
    if not task.begun:
        return "has not started"
    return "is stuck" if task.stuck else ""


def _tasks(tasks: Iterable[TaskReport]) -> Iterator[Metric]:
    handling = HistogramMetricFamily(
        "piwheels_task_handling_seconds", "Durations of a task's handlers.", labels=("task",)
    )
    turn = GaugeMetricFamily(
        "piwheels_task_turn_seconds", "Duration of the current turn.", labels=("task",)
    )
    refused = CounterMetricFamily(
        "piwheels_messages_refused", "Invalid messages, by the task that refused.", labels=("task",)
    )
    counts: dict[str, list[int]] = {}
    sums: defaultdict[str, float] = defaultdict(float)
    turns: dict[str, float] = {}
    bad: Counter[str] = Counter()
    for task in tasks:  # several tasks may have one name
        before = counts.get(task.name, [0] * len(task.handled))
        counts[task.name] = [a + b for a, b in zip(before, task.handled, strict=True)]
        sums[task.name] += task.busy
        turns[task.name] = max(turns.get(task.name, 0.0), task.turn)
        bad[task.name] += task.refused
    for name, handled in counts.items():
        total, buckets = 0, []
        for limit, count in zip((*map(str, BUCKETS), "+Inf"), handled, strict=True):
            total += count
            buckets.append((limit, total))
        handling.add_metric([name], buckets, sums[name])
        turn.add_metric([name], turns[name])
        refused.add_metric([name], bad[name])
    yield from (handling, turn, refused)


def _of_targets(seen: TargetsSeen) -> Iterator[Metric]:
    labels = ("platform", "abi")
    waiting = GaugeMetricFamily(
        "piwheels_target_versions", "Versions that wait for a build for a target.", labels=labels
    )
    slaves = GaugeMetricFamily(
        "piwheels_target_slaves", "Slaves that build for a target.", labels=labels
    )
    for state in seen.targets:
        waiting.add_metric(state[:2], state.pending)
        slaves.add_metric(state[:2], state.slaves)
    yield from (waiting, slaves)
    yield GaugeMetricFamily(
        "piwheels_targets_unserved", "Targets that wait without a slave.", value=seen.unserved
    )


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    found = GaugeMetricFamily(f"piwheels_{name}", text, labels=(label,))
    for key, value in sorted(values.items()):
        found.add_metric([key], value)
    return found


def _counts(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    found = CounterMetricFamily(f"piwheels_{name}", text, labels=(label,))
    for key, value in sorted(values.items()):
        found.add_metric([key], value)
    return found
