"""TheSentinel: monitors the master, for Prometheus, load balancers and webhooks."""

from __future__ import annotations

import logging
import secrets
import socket
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from piwheels.core.paths import bracketed
from piwheels.core.program.checking import listen
from piwheels.core.tasks import NonStopTask
from piwheels.master.logic.metrics import Metrics
from piwheels.master.logic.webhooks import (
    DiskWatch,
    Outbox,
    failed_build,
    headers,
    outcome_of,
    webhook,
)
from piwheels.master.messages import (
    BuildEnded,
    DiskSpace,
    FleetSeen,
    MonitorMessage,
    PagesPending,
    RowFailed,
    SlaveSuspended,
    StatsPublished,
    TargetsSeen,
    TasksSeen,
    TransfersCounted,
    UpstreamSeen,
)
from piwheels.master.monitoring.http import Answer, HttpServer
from piwheels.master.monitoring.webhooks import host_of, post, read_secret
from piwheels.master.ports import Ports
from piwheels.master.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from piwheels.master.logic.webhooks import Webhook
    from piwheels.master.ports import Inbox
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig


class TheSentinel(NonStopTask):
    """Serves ``/healthz`` and ``/metrics``, and sends webhooks.

    The other tasks count, and push their counts here; this task asks none of them. A thread for
    each address sends its webhooks, so that an address that does not answer delays no other one.
    """

    name = "the_sentinel"

    def __init__(self, config: MasterConfig) -> None:
        # First what may fail, so that it leaves no sockets behind.
        self._secret = read_secret(config)
        port = config.monitor_port
        listener = None if port is None else listen(config.monitor_host, port, "monitor")
        super().__init__(config)
        self._master = socket.gethostname()[:200]
        self.metrics = Metrics()
        self._disk = DiskWatch()
        self._outboxes = {url: Outbox() for url in config.webhook}
        self._pools = {url: WorkerPool(1, "webhook") for url in config.webhook}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self.ports = Ports("TheSentinel", config, self.logger, self)
        self.ports.serve("monitor", self.handle_monitor)
        for pool in self._pools.values():
            self.own(pool)
            self.register(pool.socket, partial(_run, pool))
        self.server: HttpServer | None = None
        if listener is not None:
            self.server = HttpServer(self, listener, self.answer)
            self.own(self.server)
            name, port = self.server.address
            url = f"http://{bracketed(name)}:{port}"
            self.logger.info("serving /healthz and /metrics at %s", url)
        self.every(timedelta(seconds=1), self.send)

    def handle_monitor(self, queue: Inbox[MonitorMessage]) -> None:
        """Handle what another task reports."""
        match queue.recv():
            case BuildEnded(_, outcome):
                self.metrics.count_build(outcome)
                if outcome is not None and outcome.result == "failed" and outcome.counts:
                    self.report("build-failed", failed_build(outcome))
            case SlaveSuspended(slave_id, label, reason):
                about = {"slave_id": slave_id, "slave": label, "reason": reason}
                self.report("slave-suspended", about)
            case RowFailed() as message:
                self.report("version-put-off", asdict(message))
            case DiskSpace(size, free):
                if self._disk.take(size, free):
                    self.report("disk-low", {"size": size, "free": free})
            case FleetSeen(lost=lost) as message:
                self.metrics.take(message, self.clock.monotonic())
                for slave_id, label in lost:
                    self.report("slave-lost", {"slave_id": slave_id, "slave": label})
            case TargetsSeen(late=late) as message:
                self.metrics.take(message, self.clock.monotonic())
                for state in late:
                    about = {"platform": state.platform, "abi": state.abi}
                    self.report("target-unserved", about | {"pending": state.pending})
            case (
                TasksSeen()
                | StatsPublished()
                | TransfersCounted()
                | PagesPending()
                | UpstreamSeen()
            ) as message:
                self.metrics.take(message, self.clock.monotonic())
            case never:
                assert_never(never)

    # HTTP ---------------------------------------------------------------------------------------

    def answer(self, path: str, accept: str) -> Answer:
        """Return the answer to a request for *path*."""
        if path == "/healthz":
            problems = self.metrics.problems(self.clock.monotonic())
            text = "".join(f"{problem}\n" for problem in problems) or "ok\n"
            return Answer(503 if problems else 200, text.encode())
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return Answer(200, encode(self._registry), content_type)
        return Answer(404, b"only /healthz and /metrics\n")

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as the registry of Prometheus asks for them."""
        return self.metrics.collect(self.clock.monotonic())

    # Webhooks -----------------------------------------------------------------------------------

    def report(self, event: str, details: dict[str, Any]) -> None:
        """Send a webhook to each address."""
        made = webhook(secrets.token_hex(16), event, self.clock.now(), self._master, details)
        for url, outbox in self._outboxes.items():
            if not outbox.add(made):
                self.metrics.webhooks["dropped"] += 1
                self.logger.warning(
                    "too many webhooks wait for %s: the oldest is dropped; check that it answers",
                    host_of(url),
                )
        self.send()

    def send(self) -> None:
        """Send the webhooks that are due."""
        now = self.clock.monotonic()
        for url, outbox in self._outboxes.items():
            due = outbox.next(now)
            if due is not None:
                signed = headers(due, self._secret, int(self.clock.now().timestamp()))
                work = partial(post, url, signed, due.body)
                self._pools[url].submit(work, partial(self._sent, url, due))
        self.metrics.webhooks_waiting = sum(len(each.waiting) for each in self._outboxes.values())

    def _sent(self, url: str, sent: Webhook, result: Result[int]) -> None:
        answered = "retry" if result.error is not None else outcome_of(result.value)
        outcome, pause = self._outboxes[url].ended(answered, self.clock.monotonic())
        why = result.error or f"it answers {result.value}"
        if outcome == "retry":
            self.metrics.webhooks["retried"] += 1
            self.logger.log(
                logging.WARNING if pause <= 10 else logging.INFO,
                "%s did not take a webhook (%s), trying again in %.0f s: check its address",
                host_of(url), why, pause,
            )  # fmt: skip
        else:
            self.metrics.webhooks[outcome] += 1
            if outcome == "refused":
                self.logger.error(
                    "%s refuses the webhook %s (%s), dropped: check its address and its secret",
                    host_of(url), sent.event, why,
                )  # fmt: skip
        self.send()


def _run(pool: WorkerPool, _: Any) -> None:
    """Handle the results of *pool*."""
    pool.run()
