"""TheSecretary: buffers the requests for TheScribe."""

from __future__ import annotations

import logging
from collections import deque
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never, cast

from piwheels.core.errors import Unavailable
from piwheels.core.tasks import PausingTask
from piwheels.core.wheels.tags import canonical
from piwheels.master.logic.rewrites import Rewrite, Rewrites
from piwheels.master.messages import (
    DeletePackage,
    DeleteVersion,
    PagesNoted,
    PagesPending,
    RewritePages,
    WebRequest,
    WriteHome,
    WriteLog,
    WriteRoot,
    WriteSearch,
)
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    from piwheels.core.database.rows import RewritePendingRow
    from piwheels.master.messages import Deletion, Part
    from piwheels.master.ports import Inbox, Ticket
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

    #: A rewrite that the database has not noted yet, and the request that waits for that.
    _Unsaved = tuple[Rewrite, Ticket[Any] | None]

#: The characters of logs that may be in flight to TheScribe; it finds further logs itself.
_MAX_LOGS: Final = 64 * 2**20
#: Seconds that TheScribe may take for a request.
_LIMIT: Final = 300.0
#: How many rewrites the database notes at a time.
_GROUP: Final = 5_000
#: How often the notes in the database are scanned for those that no message has announced.
_SCAN_INTERVAL: Final = timedelta(minutes=5)
#: The seconds that the last notes may take when the master stops.
_CLOSING_LIMIT: Final = 5.0


class TheSecretary(PausingTask):
    """Buffers requests for TheScribe, so that each page is written once for many changes.

    ``RewritePages`` is answered when the database has noted it, so that a crash loses nothing that
    was answered. It waits a minute for others of the same package and is then passed on, a few at a
    time; so is ``PagesNoted``, which the database has noted already (*URGENT* does not wait). All
    others are passed on at once. Deletions are answered when TheScribe has carried them out, the
    others immediately.

    While the database notes some requests, further ones gather, and are noted next in one
    transaction. If it cannot note them, the senders get the error; the pages are still written
    unless the master ends. While the task is paused, it notes but passes nothing on. It waits
    neither for TheScribe nor for the database.
    """

    name = "the_secretary"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self._buffer = Rewrites(0.2 if config.dev_mode else 60.0)
        self._log_size = 0
        self._unsaved: deque[_Unsaved] = deque()
        self._saving = False
        #: How far the notes in the database are scanned (``None``: no scan runs).
        self._scanned_to: str | None = None
        self._loading = False
        self.ports = Ports("TheSecretary", config, self.logger, self)
        self.ports.serve("web", self.handle_input)
        self._db = DbClient(self.ports)
        self.every(timedelta(seconds=5), self.load)
        self.every(_SCAN_INTERVAL, self.scan)
        self.every(timedelta(seconds=1), self.pass_on)
        self.every(timedelta(seconds=1), self.save)
        self.every(timedelta(seconds=10), self.report)

    def close(self) -> None:
        """Have the database note the waiting requests, then close everything."""
        self.save()
        self.ports.finish("database", _CLOSING_LIMIT)
        if self._saving or self._unsaved:
            self.logger.error("the master stops: the database has not noted some pages to write")
        super().close()

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle; it ends when the oldest page is due, which is then passed on."""
        if self.paused:
            super().poll(timeout)
            return
        super().poll(min(timeout, self._buffer.seconds_until_due(self.clock.monotonic())))
        if not self._buffer.seconds_until_due(self.clock.monotonic()):
            self.pass_on()

    def report(self) -> None:
        """Report to TheSentinel how many projects' pages wait."""
        self.ports.push("monitor", PagesPending(len(self._buffer)))

    # Requests -----------------------------------------------------------------------------------

    def handle_input(self, queue: Inbox[WebRequest]) -> None:
        """Handle a request: note it, or pass it on."""
        ticket = queue.recv_ticket()
        match ticket.request:
            case RewritePages(part, package):
                rewrite = self._add(canonical(package), part)
                if rewrite.saved:
                    ticket.answer()
                else:
                    self._unsaved.append((rewrite, ticket))
                    self.save()
            case PagesNoted(part, package):
                urgent = part == "URGENT"
                command = "BOTH" if part == "URGENT" else part
                self._add(canonical(package), command, saved=True, urgent=urgent)
                ticket.answer()
            case DeletePackage(package) as deletion:
                self._buffer.drop(canonical(package))
                self._pass_deletion(ticket, deletion)
            case DeleteVersion() as deletion:
                self._pass_deletion(ticket, deletion)
            case WriteLog(build_id, text) as request:
                # A log that is not passed on is still in the database: TheScribe reads it there.
                size = len(text)
                if self._log_size + size <= _MAX_LOGS:
                    self._log_size += size
                    self._pass(request, f"WriteLog({build_id})", size)
                ticket.answer()
            case (WriteHome() | WriteSearch() | WriteRoot()) as request:
                self._pass(request, request.name)
                ticket.answer()
            case never:
                assert_never(never)

    def _add(
        self, package: str, command: str, *, saved: bool = False, urgent: bool = False
    ) -> Rewrite:
        now, added_at = self.clock.monotonic(), self.clock.now()
        return self._buffer.add(package, command, now, added_at, saved=saved, urgent=urgent)

    def _pass(
        self, request: WriteLog | WriteHome | WriteSearch | WriteRoot, label: str, size: int = 0
    ) -> None:
        def then(result: Result[None]) -> None:
            self._log_size -= size
            if result.error is not None:
                self.logger.error("TheScribe could not do %s: %s", label, result.error)

        self.ports.ask("scribe", request, then, _LIMIT)

    def _pass_deletion(self, ticket: Ticket[Any], deletion: Deletion) -> None:
        def then(result: Result[int | None]) -> None:
            if result.error is not None:
                ticket.refuse(result.error)
            else:
                self._remove_note(canonical(deletion.package), result.value)
                ticket.answer()

        self.ports.ask("scribe", deletion, then, _LIMIT)

    # Pages --------------------------------------------------------------------------------------

    def pass_on(self) -> None:
        """Ask TheScribe for the pages that have waited long enough."""
        if self.paused:
            return
        for rewrite in self._buffer.take_due(self.clock.monotonic()):
            request = RewritePages(cast("Part", rewrite.command), rewrite.package)
            self.ports.ask("scribe", request, partial(self._written, rewrite), _LIMIT)

    def _written(self, rewrite: Rewrite, result: Result[int | None]) -> None:
        if result.error is None:
            self._buffer.done(rewrite)
            self._remove_note(rewrite.package, result.value)
        else:
            retry = self._buffer.failed(rewrite, self.clock.monotonic())
            self.logger.log(
                logging.WARNING if retry else logging.ERROR,
                "could not write the pages of %s (%s): %s", rewrite.package,
                "trying again" if retry else "trying again in some minutes", result.error,
            )  # fmt: skip
        self.pass_on()

    # Notes in the database ----------------------------------------------------------------------

    def load(self) -> None:
        """Continue a scan of the notes in the database, part by part, up to its end."""
        if self._scanned_to is not None and not self._loading:
            self._loading = True
            self._db.ask(self._take_over, "load_rewrites_part", self._scanned_to)

    def scan(self) -> None:
        """Scan all notes: some are left by an earlier master, others no message has announced."""
        if self._scanned_to is None:
            self._scanned_to = ""
            self.load()

    def _take_over(self, result: Result[list[RewritePendingRow]]) -> None:
        self._loading = False
        if result.error is not None:
            self.logger.error("could not load the pages to write, trying again: %s", result.error)
            return
        rows = result.value
        if new := self._buffer.load(rows, self.clock.monotonic()):
            self.logger.info("found notes of %d more packages to write", new)
        self._scanned_to = rows[-1].package if rows else None
        self.load()

    def save(self) -> None:
        """Have the database note the next requests, unless it still notes others."""
        if self._saving or not self._unsaved:
            return
        size = min(len(self._unsaved), _GROUP)
        taken = [self._unsaved.popleft() for _ in range(size)]
        rows = [rewrite.row for rewrite, _ in taken if rewrite.package in self._buffer]
        self._saving = True
        self._db.ask(partial(self._saved, taken, rows), "save_rewrites_pending", rows)

    def _saved(
        self, taken: list[_Unsaved], rows: list[RewritePendingRow], result: Result[None]
    ) -> None:
        self._saving = False
        if result.error is not None:
            self._not_saved(taken, result.error)
            return
        noted = {(row.package, row.command) for row in rows}
        for rewrite, ticket in taken:
            # A request that has arrived since is saved next.
            rewrite.saved = rewrite.saved or (rewrite.package, rewrite.command) in noted
            if ticket is not None:
                ticket.answer()
        for row in rows:
            if row.package not in self._buffer:
                # Written before it was noted: it is written again, which removes the note.
                self._add(row.package, row.command, saved=True)
        self.save()

    def _not_saved(self, taken: list[_Unsaved], error: Exception) -> None:
        # All waiting requests wait for the same: they get the error now.
        waiting = [*taken, *self._unsaved]
        rewrites = {id(rewrite): rewrite for rewrite, _ in waiting}
        self._unsaved = deque((rewrite, None) for rewrite in rewrites.values())
        self.logger.error("could not note %d rewrites, trying again: %s", len(waiting), error)
        why = Unavailable(f"{error}; the pages will be written, unless the master ends first")
        for _, ticket in waiting:
            if ticket is not None:
                ticket.refuse(why)

    def _remove_note(self, package: str, note: int | None) -> None:
        """Have the database remove *note*: the pages of *package* are written."""
        if note is None or package in self._buffer:
            return  # no note; or the pages wait again, with the same note

        def then(result: Result[None]) -> None:
            if result.error is not None:
                # The pages are written; at the next start they are written once more.
                self.logger.error(
                    "could not remove the note of %s: %s",
                    package,
                    result.error,
                )

        self._db.ask(then, "rewrite_done", package, note)
