"""TheOperator, who talks to the consoles of protocol level 1.

A console's request carries a ticket, and so does its answer
(:data:`piwheels.core.protocols.console`). TheOperator asks SlaveDriver about slaves and the
database about logs and past builds, and sends the master itself the commands for all tasks; it
never blocks. News of other tasks (ended builds, statistics, output) is passed to the consoles that
want it. Anyone may send anything here: a console that asks too much is refused, one that does not
read is forgotten, and no other console notices.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never

import zmq

from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, PiWheelsError, Refused, Unavailable, one_line
from piwheels.core.protocols import CommandReport, LogPart, Outcome, QueueHead, Welcome, console
from piwheels.core.tasks import PausingTask
from piwheels.master.big_brother import HISTORY
from piwheels.master.logic.consoles import Asker, Consoles, Tails
from piwheels.master.messages import (
    BuildEnded,
    CommandGiven,
    CommandMaster,
    CommandSlaves,
    ListQueue,
    ListSlaves,
    MasterStarted,
    News,
    OutputReceived,
    SlaveHistory,
    StatsPublished,
)
from piwheels.master.ports import Ports
from piwheels.master.site.files import Site
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.core.database.rows import EndedBuild
    from piwheels.core.states import MasterInfo, MasterStats
    from piwheels.core.transport import Socket
    from piwheels.master.messages import FleetRequest
    from piwheels.master.ports import Inbox
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

    #: Turns the answer of another task into the console's (``None``: that comes later).
    _Convert = Callable[[Any], Any]

#: The protocol level of this master.
LEVEL: Final = 1
#: How many requests, or news, are read in one go before the other sockets have their turn.
BURST: Final = 100
#: The most versions of an ABI, builds, and characters of a log in one answer.
MAX_QUEUE, MAX_BUILDS, LOG_PART = 1000, 500, 2**19


class TheOperator(PausingTask):
    """Answers consoles, passes on their commands, and sends them news.

    It continues while the farm is paused, and tells consoles about the pause.
    """

    name = "the_operator"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.site = Site(config.output_path, config.work_path)
        self.consoles = Consoles()
        self.tails = Tails()
        self.stats: deque[MasterStats] = deque(maxlen=HISTORY)
        self._info: MasterInfo | None = None
        #: Logs to read from the site, one in a cycle; and the last one, since consoles ask for
        #: parts of it.
        self._logs: deque[tuple[Asker, int, int]] = deque()
        self._read: tuple[int | None, str] = None, ""
        self.ports = Ports("TheOperator", config, self.logger, self)
        self.ports.serve("news", self.handle_news)  # "console" follows when the master has started
        self._db = DbClient(self.ports)
        self.every(timedelta(seconds=10), lambda: self.consoles.tick(self.clock.monotonic()))

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle; read one log, if a console waits for one."""
        if self._logs:
            self._read_log(*self._logs.popleft())
            timeout = 0
        super().poll(timeout)

    # Consoles -------------------------------------------------------------------------------

    def handle_console(self, queue: Socket) -> None:
        """Read the requests of consoles that have come."""
        for _ in range(BURST):
            if not queue.poll(0):
                return
            peer, *frames = queue.recv_multipart()
            if len(frames) != 2 or len(frames[0]) != 8:
                self.note_bad_message(BadMessage("no ticket of eight bytes, and one frame"))
                continue
            asker = Asker(peer, frames[0])
            try:
                self._take(asker, frames[1])
            except BadMessage as exc:
                self.note_bad_message(exc)
                self._refuse(asker, f"not understood: {exc}")
            except (Refused, Unavailable) as exc:
                self._refuse(asker, exc)

    def _take(self, asker: Asker, frame: bytes) -> None:
        msg, data = codec.loads(frame)
        data = console.received(msg, data)
        now = self.clock.monotonic()
        if msg == "HELLO":
            self.consoles.greet(asker, data.who, now)
            assert self._info is not None  # noqa: S101 (no console is served before)
            self._answer(asker, Welcome(LEVEL, self._info, self.paused))
            return
        who = self.consoles.heard(asker, now).who
        match msg:
            case "FIGURES":
                self._answer(asker, list(self.stats))
            case "SLAVES":
                self._ask_fleet(asker, _unchanged, ListSlaves(data))
            case "HISTORY":
                self._ask_fleet(asker, _unchanged, SlaveHistory(data))
            case "QUEUE":
                self._ask_fleet(asker, self._heads, ListQueue(min(data, MAX_QUEUE)))
            case "BUILDS":
                self._ask_db(asker, _outcomes, "get_recent_builds", min(data, MAX_BUILDS))
            case "LOG":
                self._log(asker, *data)
            case "WATCH":
                self._watch(asker, data)
            case "UNWATCH":
                self.consoles.unwatch(asker, data)
                self._answer(asker, NoData)
            case _:
                self._command(asker, who, msg, data)

    def _command(self, asker: Asker, who: str, verb: Any, slaves: Any) -> None:
        everyone = slaves is None or slaves is NoData
        # The tasks pause through main. The slaves get every command from here, in one sequence.
        of_tasks = verb == "QUIT" or (everyone and verb in ("SLEEP", "WAKE"))
        if of_tasks and not self.ports.push("commands", CommandMaster(verb)):
            raise Unavailable("the master takes no more commands: try again")
        if verb == "QUIT":
            self._answer(asker, NoData)
        else:
            command = CommandSlaves(verb, None if everyone else slaves)
            self._ask_fleet(asker, _unchanged, command)
        some = "" if everyone else f" {', '.join(map(str, slaves[:10]))}"
        target = "all slaves" if everyone else f"{len(slaves)} slaves:{some}"
        self.logger.warning("%s said %s to %s", who, verb, target)
        self._tell_all(CommandReport(who, verb, None if everyone else slaves, self.clock.now()))

    def _watch(self, asker: Asker, slave_id: int) -> None:
        self.consoles.watch(asker, slave_id)
        self._answer(asker, NoData)
        tail = self.tails.of(slave_id)
        if tail is not None:
            self._send(asker, codec.dumps("OUTPUT", tail))

    # Requests to other tasks ----------------------------------------------------------------

    def _ask_fleet(self, asker: Asker, convert: _Convert, request: FleetRequest) -> None:
        self.consoles.opened(asker)
        self.ports.ask("fleet", request, partial(self._answered, asker, convert))

    def _ask_db(self, asker: Asker, convert: _Convert, method: str, *args: Any) -> None:
        self.consoles.opened(asker)
        self._db.ask(partial(self._answered, asker, convert), method, *args)

    def _answered(self, asker: Asker, convert: _Convert, result: Result[Any]) -> None:
        if result.error is not None:
            self._end(asker, result.error)
        elif (answer := convert(result.value)) is not None:
            self._end(asker, answer)

    def _end(self, asker: Asker, answer: Any) -> None:
        """Send the *answer* to a request that had to wait, or the error that came instead."""
        self.consoles.closed(asker)
        if isinstance(answer, PiWheelsError):
            self._refuse(asker, answer)
        else:
            self._answer(asker, answer)

    def _heads(self, queues: dict[str, tuple[int, list[Any]]]) -> list[QueueHead]:
        pending = self.stats[-1].builds_pending if self.stats else {}
        heads: dict[str, Any] = dict.fromkeys(pending, (0, ())) | queues
        return [
            QueueHead(abi, pending.get(abi, waiting), first)
            for abi, (waiting, first) in heads.items()
        ]

    # Logs -----------------------------------------------------------------------------------

    def _log(self, asker: Asker, build_id: int, offset: int) -> None:
        def convert(found: tuple[str, int] | None) -> LogPart | None:
            if found is None:
                self._logs.append((asker, build_id, offset))
                return None
            return LogPart(offset, *found)

        self._ask_db(asker, convert, "get_build_log", build_id, offset, LOG_PART)

    def _read_log(self, asker: Asker, build_id: int, offset: int) -> None:
        if self._read[0] != build_id:
            try:
                text = self.site.read_log(build_id)
            except OSError as exc:
                self.logger.error("cannot read the log of build %d: %s", build_id, exc)
                self._end(asker, Refused("LOG", f"the log cannot be read: {exc.strerror or exc}"))
                return
            if text is None:
                self._end(asker, Refused("LOG", f"there is no log of build {build_id}"))
                return
            self._read = build_id, text
        text = self._read[1]
        self._end(asker, LogPart(offset, text[offset : offset + LOG_PART], len(text)))

    # News -----------------------------------------------------------------------------------

    def handle_news(self, queue: Inbox[News]) -> None:
        """Read the news of other tasks, and send them to the consoles that want them."""
        for _ in range(BURST):
            if not queue.poll(0):
                return
            match queue.recv():
                case MasterStarted(info):
                    self._info = info
                    self.ports.serve("console", self.handle_console)
                case StatsPublished(stats):
                    self.stats.append(stats)
                case OutputReceived(output):
                    self.tails.add(output)
                    self._tell(self.consoles.watchers(output.slave_id), "OUTPUT", output)
                case BuildEnded(slave_id, outcome):
                    self.tails.drop(slave_id)
                    if outcome is not None:
                        self._tell(self.consoles.everyone(), "OUTCOME", outcome)
                case CommandGiven(command):
                    self._tell_all(command)
                case never:
                    assert_never(never)

    def _tell_all(self, told: CommandReport) -> None:
        self._tell(self.consoles.everyone(), "COMMAND", told)

    def _tell(self, askers: Iterable[Asker], msg: str, data: Any) -> None:
        frame = None
        for asker in list(askers):
            frame = frame or codec.dumps(msg, data)
            self._send(asker, frame)

    # Sending --------------------------------------------------------------------------------

    def _answer(self, asker: Asker, result: Any) -> None:
        self._send(asker, codec.dumps("OK", result))

    def _refuse(self, asker: Asker, why: object) -> None:
        self._send(asker, codec.dumps("REFUSED", one_line(why)))

    def _send(self, asker: Asker, frame: bytes) -> None:
        try:
            self.ports.socket("console").send_multipart([*asker, frame], zmq.DONTWAIT)
        except Unavailable:
            self.note_bad_message(BadMessage("a console does not read what it is sent"))
            self.consoles.forget(asker.peer)
        except zmq.ZMQError as exc:
            if exc.errno != zmq.EHOSTUNREACH:
                raise
            self.consoles.forget(asker.peer)  # it has gone


def _unchanged(result: Any) -> Any:
    return result


def _outcomes(builds: Iterable[EndedBuild]) -> list[Outcome]:
    return [
        Outcome(
            build.build_id, build.slave_id, build.label, build.package, build.version,
            build.abi_tag, "ok" if build.status else "failed", build.duration, build.files,
            build.built_at,
        )
        for build in builds
    ]  # fmt: skip
