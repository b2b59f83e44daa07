"""TheSecretary, who buffers what TheScribe is to write."""

from __future__ import annotations

import logging
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import zmq

from piwheels.core.errors import BadMessage, Unavailable
from piwheels.core.tasks import PausingTask
from piwheels.core.wheels.tags import canonical
from piwheels.master.logic.rewrites import Rewrite, Rewrites
from piwheels.master.rpc import Client, Request, recv_request, send_error, send_result
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import web

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.database.rows import RewritePendingRow
    from piwheels.core.transport import Socket
    from piwheels.master.rpc import Answer
    from piwheels.master.wiring import MasterConfig

#: How much of logs may be on the way to TheScribe, in characters; the rest it finds itself.
_MAX_LOGS: Final = 64 * 2**20
#: Seconds that TheScribe may take for what was passed on, before it is taken to be lost.
_LIMIT: Final = 300.0
#: How many rewrites the database notes at a time.
_GROUP: Final = 5_000
#: How often it is looked whether the database has notes that nobody has told of.
_LOOK: Final = timedelta(minutes=5)
#: Seconds that the last of it may take when the master stops.
_LAST: Final = 5.0


class _Passed(NamedTuple):
    """A request that was passed on: who waits for the answer (``None``: nobody any more)."""

    request: Request | None
    msg: str
    data: Any
    size: int
    since: float


class _Saving(NamedTuple):
    """What the database is noting."""

    ticket: int
    taken: list[tuple[Rewrite, Request | None]]
    rows: list[RewritePendingRow]


class TheSecretary(PausingTask):
    """Buffers requests for TheScribe, so that each page is written once for many changes.

    ``PROJECT`` and ``BOTH`` are answered when the database has noted them (so a crash loses nothing
    that was answered), wait a minute for others of the same package, and are then passed on, a few
    at a time; so is ``NOTED``, which the database knows of already (``URGENT``: without the wait).
    All others are passed on at once; ``DELPKG`` and ``DELVER`` are answered when TheScribe has done
    them, ``LOG``, ``HOME``, ``SEARCH`` and ``ROOT`` without waiting.

    The database gets what has come while it noted what came before, in one transaction. Where it
    cannot note it, whoever asked is told so, and the pages are written if the master lives. While
    the task is paused, it notes and passes nothing on. It waits neither for TheScribe nor for the
    database.
    """

    name = "the_secretary"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self._buffer = Rewrites(0.2 if config.dev_mode else 60.0)
        self._writing: dict[int, Rewrite] = {}
        self._passed: dict[int, _Passed] = {}
        self._log_size = 0
        #: What the database does not know yet, and who is to be told when it does.
        self._unsaved: deque[tuple[Rewrite, Request | None]] = deque()
        self._saving: _Saving | None = None
        #: Which packages' notes are being removed, by ticket.
        self._removing: dict[int, str] = {}
        #: How far the notes in the database are looked through (``None``: to their end).
        self._loaded: str | None = None
        self._loading: int | None = None
        queue = self.socket(zmq.ROUTER)
        queue.hwm = 100_000
        queue.bind(config.web_queue)
        self.register(queue, self.handle_input)
        self._queue = queue
        self._scribe = Client(self.ctx, config.scribe_queue, "TheScribe", self.logger)
        self.register(self._scribe.socket, self.handle_answers)
        self._db = DbClient(config, self.logger)
        self.register(self._db.socket, self.handle_database)
        self.every(timedelta(seconds=5), self.load)
        self.every(_LOOK, self.look)
        self.every(timedelta(seconds=1), self.pass_on)
        self.every(timedelta(seconds=1), self.save)
        self.every(timedelta(seconds=30), self.give_up)

    def close(self) -> None:
        """Leave what still waits in the database, then close everything."""
        end = self.clock.monotonic() + _LAST
        self.save()
        while (self._saving or self._removing) and self._db.socket.poll(
            end - self.clock.monotonic()
        ):
            self.handle_database(self._db.socket)
        if self._saving or self._unsaved:
            self.logger.error("the master ends: some pages that are to be written are not noted")
        super().close()

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle; it ends when the oldest page is due, which is then handed out."""
        if self.paused:
            super().poll(timeout)
            return
        super().poll(min(timeout, self._buffer.wait(self.clock.monotonic())))
        if not self._buffer.wait(self.clock.monotonic()):
            self.pass_on()

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
                rewrite = self._add(canonical(data), request.msg)
                if rewrite.saved:
                    send_result(queue, request)
                else:
                    self._unsaved.append((rewrite, request))
                    self.save()
            case "NOTED":
                urgent = data[0] == "URGENT"
                command = "BOTH" if urgent else data[0]
                self._add(canonical(data[1]), command, saved=True, urgent=urgent)
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

    def _add(
        self, package: str, command: str, *, saved: bool = False, urgent: bool = False
    ) -> Rewrite:
        now, added_at = self.clock.monotonic(), self.clock.now()
        return self._buffer.add(package, command, now, added_at, saved=saved, urgent=urgent)

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
        whom = request if waits else None
        self._passed[ticket] = _Passed(whom, request.msg, about, size, self.clock.monotonic())

    # What goes out ------------------------------------------------------------------------------

    def pass_on(self) -> None:
        """Hand TheScribe what has waited long enough."""
        if self.paused:
            return
        now = self.clock.monotonic()
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
                    self._buffer.done(rewrite)
                    self._remove_note(rewrite.package, answer.result)
                else:
                    self._failed(rewrite, answer.error)
            elif (passed := self._passed.pop(answer.ticket, None)) is not None:
                self._done(passed, answer)
        self.pass_on()

    def _failed(self, rewrite: Rewrite, error: Exception) -> None:
        again = self._buffer.failed(rewrite, self.clock.monotonic())
        self.logger.log(
            logging.WARNING if again else logging.ERROR, "could not write the pages of %s (%s): %s",
            rewrite.package, "trying again" if again else "given up for some minutes", error,
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
            self._remove_note(canonical(package), answer.result)
            send_result(self._queue, passed.request)

    def give_up(self) -> None:
        """Stop waiting for what TheScribe should have done long ago."""
        now = self.clock.monotonic()
        error = Unavailable(f"TheScribe did not answer within {_LIMIT:g} s")
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
        """Go on to take over what is noted in the database, part by part, up to its end."""
        if self._loaded is not None and self._loading is None:
            try:
                self._loading = self._db.request("load_rewrites_part", self._loaded)
            except Unavailable as exc:
                self.logger.error("could not load what waits to be written, trying again: %s", exc)

    def look(self) -> None:
        """Look through all notes: some are left, others nobody tells of."""
        if self._loaded is None:
            self._loaded = ""
            self.load()

    def save(self) -> None:
        """Have the database note what it does not know yet, unless it is at that already."""
        if self._saving is not None or not self._unsaved:
            return
        size = min(len(self._unsaved), _GROUP)
        taken = [self._unsaved.popleft() for _ in range(size)]
        rows = [rewrite.row for rewrite, _ in taken if rewrite.package in self._buffer]
        try:
            ticket = self._db.request("save_rewrites_pending", rows)
        except Unavailable as exc:
            self._not_saved(taken, exc)
        else:
            self._saving = _Saving(ticket, taken, rows)

    def handle_database(self, _: Socket) -> None:
        """Hear what the database has noted, or what it had noted before."""
        for answer in self._db.answers():
            if self._saving is not None and answer.ticket == self._saving.ticket:
                self._saved(self._saving, answer)
            elif answer.ticket == self._loading:
                self._take_over(answer)
            elif (package := self._removing.pop(answer.ticket, None)) and answer.error is not None:
                # The pages are there; at the next start they are written once more.
                self.logger.error("could not note that %s is written: %s", package, answer.error)

    def _saved(self, saving: _Saving, answer: Answer) -> None:
        self._saving = None
        if answer.error is not None:
            self._not_saved(saving.taken, answer.error)
        else:
            noted = {(row.package, row.command) for row in saving.rows}
            for rewrite, request in saving.taken:
                # More may be wanted by now: that is to be saved yet.
                rewrite.saved = rewrite.saved or (rewrite.package, rewrite.command) in noted
                if request is not None:
                    send_result(self._queue, request)
            for row in saving.rows:
                if row.package not in self._buffer:
                    # Written sooner than it was noted: once more, then the note goes.
                    self._add(row.package, row.command, saved=True)
            self.save()

    def _not_saved(self, taken: Iterable[tuple[Rewrite, Request | None]], error: Exception) -> None:
        # All that wait, wait for the same: they hear of it now.
        waiting = [*taken, *self._unsaved]
        rewrites = {id(rewrite): rewrite for rewrite, _ in waiting}
        self._unsaved = deque((rewrite, None) for rewrite in rewrites.values())
        self.logger.error("could not note %d rewrites, trying again: %s", len(waiting), error)
        why = Unavailable(f"{error}; the pages will be written, unless the master ends first")
        for _, request in waiting:
            if request is not None:
                send_error(self._queue, request, why)

    def _remove_note(self, package: str, note: int | None) -> None:
        """Have the database forget *note*: the pages of *package* show what was known then."""
        if note is None or package in self._buffer:
            return  # there was none; or it waits again, which is noted by the same
        try:
            self._removing[self._db.request("rewrite_done", package, note)] = package
        except Unavailable as exc:
            self.logger.error("could not note that %s is written: %s", package, exc)

    def _take_over(self, answer: Answer) -> None:
        self._loading = None
        if answer.error is not None:
            self.logger.error(
                "could not load what waits to be written, trying again: %s", answer.error
            )
            return
        rows: list[RewritePendingRow] = answer.result
        if new := self._buffer.load(rows, self.clock.monotonic()):
            self.logger.info("%d packages are noted to be written: taken over", new)
        self._loaded = rows[-1].package if rows else None
        self.load()
