"""TheSecretary, who buffers what TheScribe is to write."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import zmq

from piwheels.core.errors import BadMessage, PiWheelsError, Unavailable
from piwheels.core.rpc import Client, Request, recv_request, send_error, send_result
from piwheels.core.tags import canonical
from piwheels.core.tasks import PausingTask
from piwheels.master.logic.rewrites import Rewrite, Rewrites
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import web

if TYPE_CHECKING:
    from piwheels.core.database import Database
    from piwheels.core.rpc import Answer
    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: How much of logs may be on the way to TheScribe, in characters; the rest it finds itself.
_MAX_LOGS: Final = 64 * 2**20
#: How long TheScribe may take for what was passed on, before it is taken to be lost.
_LIMIT: Final = timedelta(minutes=5)


class _Passed(NamedTuple):
    """A request that was passed on: who waits for the answer (``None``: nobody any more)."""

    request: Request | None
    msg: str
    data: Any
    size: int
    since: datetime


class TheSecretary(PausingTask):
    """Buffers requests for TheScribe, so that each page is written once for many changes.

    ``PROJECT`` and ``BOTH`` are answered as soon as they are noted, wait a minute for others of the
    same package, and are then passed on, a few at a time; ``URGENT`` is a ``BOTH`` that does not
    wait. All others are passed on at once; ``DELPKG`` and ``DELVER`` are answered when TheScribe
    has done them, ``LOG``, ``HOME`` and ``SEARCH`` without waiting.

    What waits is also noted in the database within a second, so that a crash loses nothing. While
    the task is paused, it notes and passes nothing on. It never waits for TheScribe.
    """

    name = "the_secretary"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.db: Database | None = None
        self._buffer = Rewrites(timedelta(seconds=0.2 if config.dev_mode else 60))
        self._writing: dict[int, Rewrite] = {}
        self._passed: dict[int, _Passed] = {}
        self._log_size = 0
        self._loaded = False
        queue = self.socket(zmq.ROUTER)
        queue.hwm = 100_000
        queue.bind(config.web_queue)
        self.register(queue, self.handle_input)
        self._queue = queue
        self._scribe = Client(self.ctx, config.scribe_queue, "TheScribe", self.logger)
        self.register(self._scribe.socket, self.handle_answers)
        self.every(timedelta(seconds=5), self.load)
        self.every(timedelta(seconds=0.05 if config.dev_mode else 0.5), self.pass_on)
        self.every(timedelta(seconds=1), self.save)
        self.every(timedelta(seconds=30), self.give_up)

    def once(self) -> None:
        """Connect to the database."""
        if self.db is None:
            self.db = DbClient(self.config, self.logger)

    def close(self) -> None:
        """Leave what still waits in the database, and close the connection to it."""
        super().close()
        if self.db is not None:
            self.save()
            self.db.close()

    # What comes in ------------------------------------------------------------------------------

    def handle_input(self, queue: Socket) -> None:
        """Take a request: note it, or pass it on."""
        request = recv_request(queue)
        try:
            data = web.received(request.msg, request.data)
        except BadMessage as exc:
            send_error(queue, request, exc)
            raise
        match request.msg:
            case "PROJECT" | "BOTH":
                self._buffer.add(canonical(data), request.msg, _now())
                send_result(queue, request)
            case "URGENT":
                self._buffer.add(canonical(data), "BOTH", _now(), urgent=True)
                send_result(queue, request)
            case "LOG":
                # A log that is not passed on now is still in the database: TheScribe looks there.
                if self._log_size + len(data[1]) <= _MAX_LOGS:
                    self._pass(request, size=len(data[1]))
                send_result(queue, request)
            case "DELPKG" | "DELVER":
                if request.msg == "DELPKG":
                    self._buffer.drop(canonical(data))
                self._pass(request, waits=True)
            case _:
                self._pass(request)
                send_result(queue, request)

    def _pass(self, request: Request, *, waits: bool = False, size: int = 0) -> None:
        try:
            ticket = self._scribe.request(request.msg, request.data)
        except Unavailable as exc:
            if waits:
                send_error(self._queue, request, exc)
            self.logger.error("could not pass on %s: %s", request.msg, exc)
            return
        self._log_size += size
        # What a log says is not kept here: its number is enough to speak of it.
        about = request.data[0] if request.msg == "LOG" else request.data
        self._passed[ticket] = _Passed(request if waits else None, request.msg, about, size, _now())

    # What goes out ------------------------------------------------------------------------------

    def pass_on(self) -> None:
        """Hand TheScribe what has waited long enough."""
        if self.paused:
            return
        now = _now()
        for rewrite in self._buffer.due(now):
            try:
                ticket = self._scribe.request(rewrite.command, rewrite.package)
            except Unavailable as exc:
                self._failed(rewrite, exc)
            else:
                self._writing[ticket] = rewrite

    def handle_answers(self, _: Socket) -> None:
        """Take TheScribe's answers, and hand it what comes next."""
        for answer in self._scribe.answers():
            if (rewrite := self._writing.pop(answer.ticket, None)) is not None:
                if answer.error is None:
                    self._written(rewrite)
                else:
                    self._failed(rewrite, answer.error)
            elif (passed := self._passed.pop(answer.ticket, None)) is not None:
                self._done(passed, answer)
        self.pass_on()

    def _written(self, rewrite: Rewrite) -> None:
        self._buffer.done(rewrite)
        if rewrite.handed_at is not None:
            self._note(rewrite.package, rewrite.handed_at)

    def _note(self, package: str, known: datetime) -> None:
        """Note that the pages of *package* show what was *known* by then."""
        if package in self._buffer:
            return  # it waits again: the note of that is still needed
        try:
            self._db.rewrite_done(package, known)
        except PiWheelsError as exc:
            # The pages are there; at the next start they are written once more.
            self.logger.error("could not note that %s is written: %s", package, exc)

    def _failed(self, rewrite: Rewrite, error: Exception) -> None:
        again = self._buffer.failed(rewrite, _now())
        self.logger.log(
            logging.WARNING if again else logging.ERROR, "could not write the pages of %s (%s): %s",
            rewrite.package, "trying again" if again else "given up until the next start", error,
        )  # fmt: skip

    def _done(self, passed: _Passed, answer: Answer) -> None:
        self._log_size -= passed.size
        if passed.request is None:
            if answer.error is not None:
                self.logger.error("TheScribe could not do %s: %s", passed.msg, answer.error)
        elif answer.error is not None:
            send_error(self._queue, passed.request, answer.error)
        else:
            package = passed.data if passed.msg == "DELPKG" else passed.data[0]
            self._note(canonical(package), passed.since)
            send_result(self._queue, passed.request, answer.result)

    def give_up(self) -> None:
        """Stop waiting for what TheScribe should have done long ago."""
        now, error = _now(), Unavailable(f"TheScribe did not answer within {_LIMIT}")
        late = self._buffer.overdue(now, _LIMIT)
        for ticket in [ticket for ticket, rewrite in self._writing.items() if rewrite in late]:
            self._failed(self._writing.pop(ticket), error)
        for ticket in [t for t, passed in self._passed.items() if now - passed.since > _LIMIT]:
            passed = self._passed.pop(ticket)
            self._log_size -= passed.size
            if passed.request is not None:
                send_error(self._queue, passed.request, error)

    # What the database keeps --------------------------------------------------------------------

    def load(self) -> None:
        """Take over what an earlier run has left in the database, once."""
        if self._loaded:
            return
        try:
            rows = self._db.load_rewrites_pending()
        except PiWheelsError as exc:
            self.logger.error("could not load what waits to be written, trying again: %s", exc)
            return
        self._loaded = True
        self._buffer.load(rows, _now())
        if rows:
            self.logger.info("%d packages wait to be written since the last run", len(rows))

    def save(self) -> None:
        """Note in the database what waits and is not noted there yet."""
        unsaved = self._buffer.unsaved()
        if not unsaved:
            return
        try:
            self._db.save_rewrites_pending([rewrite.row for rewrite in unsaved])
        except PiWheelsError as exc:
            self.logger.error("could not note %d rewrites, trying again: %s", len(unsaved), exc)
            return
        for rewrite in unsaved:
            rewrite.saved = True

    @property
    def _db(self) -> Database:
        if self.db is None:
            raise Unavailable("the task has not started")
        return self.db


def _now() -> datetime:
    return datetime.now(UTC)
