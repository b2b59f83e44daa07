"""Follows a whole index by its changelog (XML-RPC); logic/changelog has the rules."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.errors import BadMessage
from piwheels.core.fetching import UpstreamFault
from piwheels.master.logic import changelog
from piwheels.master.logic.failures import Failures
from piwheels.master.upstream.follower import fault_of

if TYPE_CHECKING:
    from piwheels.master.logic.changelog import Batch, Event
    from piwheels.master.result import Result
    from piwheels.master.upstream.follower import Gazer
    from piwheels.master.upstream.pypi import Upstream

#: The most events in one transaction; between two transactions, the task handles commands.
SLICE: Final = 500
#: The default interval between two requests, in seconds.
INTERVAL: Final = 10.0
#: How many invalid entries of an answer to log.
MAX_LOGGED: Final = 100
#: How many consecutive answers must report a lower serial before it is accepted.
CONFIRMATIONS: Final = 30


class Answer(NamedTuple):
    """The upstream's *last* serial (``None``: not requested), and its new events, if any."""

    last: int | None
    batch: Batch | None


class Changelog:
    """Requests events, and stores them in slices, each together with its last serial.

    In a new database it begins at the upstream's newest serial, or at that of ``--pypi-serial``.
    """

    def __init__(self, gazer: Gazer, upstream: Upstream) -> None:
        self._gazer, self._upstream, self._logger = gazer, upstream, gazer.logger
        every = gazer.config.poll_every
        self._interval = INTERVAL if every is None else every.total_seconds()
        self._failures = Failures(gazer.back_off)
        self._serial: int | None = None
        self._batch: Batch | None = None
        self._done = self._count = 0
        self._requesting = self._started = self._more = False
        self._due = 0.0
        self._lower_serials: list[int] = []
        #: The last serial that was seen, and its events.
        self._last_seen = 0
        self._last_events: set[Event] = set()

    def __str__(self) -> str:
        return f"{self._count:,} events, up to serial {self._serial or 0}"

    def work(self, now: float) -> bool:
        """Do one step; return whether another step is due now."""
        if self._batch is not None:
            return self._store_slice(self._batch)
        if not self._requesting and now >= self._due:
            if not self._started:
                self._serial = self._gazer.db.get_pypi_serial() or self._gazer.config.pypi_serial
                self._started = True
                self._logger.info("following the changelog at %s", self._upstream.xmlrpc)
            self._requesting = True
            self._gazer.pool.submit(partial(self._request, self._serial), self._received)
        return False

    def _request(self, serial: int | None) -> Answer:
        """Request the events after *serial*; for a worker thread."""
        last = None
        if serial is None or not self._more:
            last = self._upstream.call("changelog_last_serial")
            if not changelog.is_serial(last):
                raise UpstreamFault(f"its last serial is {last!r:.50}")
            if serial is None or last <= serial:
                return Answer(last, None)
        try:
            events = self._upstream.call("changelog_since_serial", serial)
            return Answer(last, changelog.parse(events, serial))
        except BadMessage as exc:
            raise UpstreamFault(str(exc)) from None

    def _received(self, result: Result[Answer]) -> None:
        self._requesting = False
        try:
            last, batch = result.get()
        except Exception as exc:  # noqa: BLE001 (one answer never ends the task)
            fault = fault_of(self._gazer, "an answer of the changelog", exc)
            wait, log = self._failures.failed(fault.retry_after)
            self._due = self._gazer.clock.monotonic() + wait
            if log:
                self._logger.warning(
                    "the changelog: %s; trying again in %.3g s (failure %d in a row)",
                    fault, wait, self._failures.count,
                )  # fmt: skip
            return
        if over := self._failures.recovered():
            self._logger.info("the changelog answers again (failures: %d)", over)
        self._due = self._gazer.clock.monotonic() + self._interval
        if last is not None:
            self._compare(last)
        if batch is not None:
            self._take_batch(batch)

    def _compare(self, last: int) -> None:
        """Begin at the upstream's *last* serial, or check whether it is lower than before."""
        if self._serial is None:
            self._gazer.store([], [], last)
            self._serial = last
            self._logger.info("a new database: beginning at the newest serial, %d", last)
        elif last >= self._serial:
            self._lower_serials.clear()
        else:
            self._lower_serials.append(last)
            if len(self._lower_serials) == 1:
                self._logger.warning(
                    "the changelog's serial went back from %d to %d: if that is confirmed, the"
                    " later events are read again; check whether --pypi-xmlrpc is the right index",
                    self._serial, last,
                )  # fmt: skip
            if len(self._lower_serials) >= CONFIRMATIONS and min(self._lower_serials) > 0:
                back = min(self._lower_serials)
                self._gazer.store([], [], back)
                self._logger.warning("going back from serial %d to %d", self._serial, back)
                self._serial = self._last_seen = back
                self._last_events.clear()
                self._lower_serials.clear()

    def _take_batch(self, batch: Batch) -> None:
        """Accept the events of an answer; without any, all events up to its serial are complete."""
        events = [event for event in batch.events if event not in self._last_events]
        self._more = batch.last_serial > self._last_seen or bool(events)
        if batch.invalid and batch.last_serial > self._last_seen:
            for entry in batch.invalid[:MAX_LOGGED]:
                self._logger.warning("ignored an entry of the changelog: %s", entry)
            if (more := len(batch.invalid) - MAX_LOGGED) > 0:
                self._logger.warning(
                    "ignored %d more entries of the changelog up to serial %d",
                    more, batch.last_serial,
                )  # fmt: skip
        if not self._more:
            self._gazer.store([], [], batch.last_serial)
            self._serial = batch.last_serial
            return
        self._last_events = {event for event in batch.events if event.serial == batch.last_serial}
        self._last_seen = batch.last_serial
        self._batch, self._done, self._due = batch._replace(events=events), 0, 0.0
        self._gazer.pool.wake()

    def _store_slice(self, batch: Batch) -> bool:
        """Store the next events of *batch*."""
        left = batch.events[self._done :]
        number = changelog.slice_length(left, SLICE, self._gazer.removals.keys())
        if left and not number:
            return False  # the removal of its package or version has to be finished first
        changes = changelog.fold(left[:number])
        finished = number == len(left)
        # The last serial may have further events: it is stored when the next answer has none.
        serial = batch.last_serial - 1 if finished else changelog.serial_after(left, number)
        self._gazer.store(changes.packages, changes.versions, serial)
        for event in changes.unknown:
            self._logger.debug("ignored an event: %s", event)
        self._serial = serial
        self._done += number
        self._count += number
        if finished:
            self._batch = None
        return True
