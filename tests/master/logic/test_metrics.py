"""The health of the master and its metrics, from the reports of the tasks."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from piwheels.core.protocols import BuildOutcome, TargetState
from piwheels.core.states import MasterStats
from piwheels.master.logic.metrics import FRESH, MAX_ABIS, Metrics
from piwheels.master.messages import (
    FleetSeen,
    LostSlave,
    PagesPending,
    StatsPublished,
    TargetsSeen,
    TaskReport,
    TasksSeen,
    TransfersCounted,
    UpstreamSeen,
)

WELL = TaskReport("seraph", True, True, False, 0.5, 2.0, [1, 2, 3, 4, 5], 6)
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(result, abi="cp311", **about):
    took = timedelta(seconds=1)
    return BuildOutcome(1, 1, "one", "six", "1.0", abi, result, took, 1, WHEN, **about)


class Exposed:
    """The samples of *metrics*, as a scraper of OpenMetrics reads them."""

    def __init__(self, metrics, now=0.0):
        class Registry:
            collect = staticmethod(lambda: metrics.collect(now))

        text = generate_latest(Registry).decode()
        self.families = {each.name: each for each in text_string_to_metric_families(text)}

    def __getitem__(self, key):
        name, labels = key
        samples = [sample for each in self.families.values() for sample in each.samples]
        return next(
            sample.value
            for sample in samples
            if sample.name == f"piwheels_{name}" and sample.labels == labels
        )


@pytest.mark.parametrize(
    ("report", "now", "problems"),
    [
        (None, 0.0, ["the master is starting"]),
        ([WELL], FRESH, []),
        ([WELL], FRESH + 1, ["the main thread has been silent for 11 s"]),
        ([WELL, WELL._replace(stuck=True)], 0.0, ["seraph is stuck"]),
        ([WELL._replace(alive=False)], 0.0, ["seraph has ended"]),
        ([WELL._replace(begun=False)], 0.0, ["seraph has not started"]),
        ([WELL._replace(begun=False, alive=False)], 0.0, ["seraph has ended"]),
    ],
)
def test_the_master_is_healthy_while_all_tasks_are(report, now, problems):
    metrics = Metrics()
    if report is not None:
        metrics.take(TasksSeen(report), 0.0)
    assert metrics.problems(now) == problems
    assert Exposed(metrics, now)["healthy", {}] == (not problems)


def test_each_report_becomes_metrics():
    metrics = Metrics()
    numbers = [1, {"cp311": 2}, timedelta(0), 3, {"cp311": 4, "cp313": 5}, *range(6, 17)]
    metrics.take(StatsPublished(MasterStats(WHEN, *numbers, 0.5, 40.0)), 0.0)
    metrics.take(TasksSeen([WELL, WELL]), 0.0)
    metrics.take(FleetSeen({"idle": 2}, [LostSlave(7, "lost")]), 0.0)
    metrics.take(FleetSeen({"building": 1}, []), 0.0)
    states = [TargetState("linux_armv7l", "cp311", 7, 0), TargetState("any", "cp39", 0, 2)]
    metrics.take(TargetsSeen(states, 1, states[:1]), 0.0)
    metrics.take(TransfersCounted(1, 2, {"published": 3}, 4), 0.0)
    metrics.take(PagesPending(9), 0.0)
    metrics.take(UpstreamSeen(12.5, 2, 3), 0.0)
    for result in ("ok", "failed", "failed"):
        metrics.count_build(outcome(result))
    metrics.count_build(None)
    found = Exposed(metrics)
    assert found["queue_versions", {"abi": "cp313"}] == 5
    assert found["builds_total", {"abi": "cp311", "result": "failed"}] == 2
    assert found["builds_total", {"abi": "", "result": "again"}] == 1
    assert found["slaves", {"state": "building"}] == 1
    assert found["slaves_lost_total", {}] == 1
    target = {"platform": "linux_armv7l", "abi": "cp311"}
    assert (found["target_versions", target], found["target_slaves", target]) == (7, 0)
    assert found["targets_unserved", {}] == 1
    assert found["transfers_total", {"result": "published"}] == 3
    assert found["pages_pending", {}] == 9
    assert found["upstream_lag_seconds", {}] == 12.5
    task = {"task": "seraph"}
    assert found["messages_refused_total", task] == 12
    assert found["task_handling_seconds_bucket", task | {"le": "1.0"}] == 12
    assert found["task_handling_seconds_count", task] == 30
    assert found["task_handling_seconds_sum", task] == 4
    with pytest.raises(StopIteration):
        _ = found["slaves", {"state": "idle"}]


def test_failures_are_counted_by_class_and_those_of_the_farm_apart():
    metrics = Metrics()
    for about in (
        {"reason": "missing-header"}, {"reason": "missing-header"}, {"reason": "of-the-future"},
        {"reason": "disk-full", "counts": False},
    ):  # fmt: skip
        metrics.count_build(outcome("failed", **about))
    metrics.count_build(outcome("ok", recipe="with cython<3"))
    metrics.count_build(outcome("ok"))
    found = Exposed(metrics)
    assert found["failures_total", {"reason": "missing-header"}] == 2
    assert found["failures_total", {"reason": "unknown"}] == 1
    assert found["failures_total", {"reason": "disk-full"}] == 1
    assert found["builds_total", {"abi": "cp311", "result": "failed"}] == 3
    assert found["builds_total", {"abi": "cp311", "result": "put-off"}] == 1
    assert found["builds_cured_total", {}] == 1


def test_what_slaves_claim_cannot_make_any_number_of_labels():
    metrics = Metrics()
    for number in range(2 * MAX_ABIS):
        metrics.count_build(outcome("ok", f"cp{number}"))
    assert len(Exposed(metrics).families["piwheels_builds"].samples) <= MAX_ABIS + 1
    assert Exposed(metrics)["builds_total", {"abi": "other", "result": "ok"}] == MAX_ABIS
