"""TheOperator, who talks to the consoles of protocol level 1.

A console asks under a ticket and is answered under it (:data:`piwheels.core.protocols.console`).
What concerns the slaves is asked of SlaveDriver, what concerns all tasks of the master itself, logs
and past builds of the database; none is waited for. What the other tasks tell of (builds that end,
figures, what builds say) goes on to the consoles that want it. Anybody may send anything here: who
asks too much is refused, who does not read is forgotten, and nobody else notices.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import zmq

from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, PiWheelsError, Refused, Unavailable, one_line
from piwheels.core.protocols import CommandReport, LogPart, Outcome, QueueHead, Welcome, console
from piwheels.core.tasks import PausingTask
from piwheels.master.big_brother import HISTORY
from piwheels.master.logic.consoles import Asker, Consoles, Tails
from piwheels.master.rpc import Client
from piwheels.master.site.files import Site
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import NEWS_LIMIT, news, orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.core.database.rows import EndedBuild
    from piwheels.core.states import MasterInfo, MasterStats
    from piwheels.core.transport import Socket
    from piwheels.master.rpc import Answer
    from piwheels.master.wiring import MasterConfig

    #: What is called with the answer to a question of ours, to say what the console's answer is.
    _Then = Callable[[Any], Any]

#: The protocol level that we speak.
LEVEL: Final = 1
#: How many requests, and how much news, are taken before the other sockets have their turn.
BURST: Final = 100
#: The longest request that is read, in bytes; how many of a console's may wait, and how many
#: messages to it. Who leaves more unread is forgotten.
MAX_REQUEST, MAX_UNREAD, MAX_UNSENT = 2**20, 100, 300
#: The most versions of an ABI, and builds, that one answer has; characters of a log.
MAX_QUEUE, MAX_BUILDS, LOG_PART = 1000, 500, 2**19


class TheOperator(PausingTask):
    """Answers consoles, passes on their commands, and tells them what happens.

    It goes on while the farm is paused; that it is, is among what consoles are told.
    """

    name = "the_operator"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.site = Site(config.output_path, config.work_path)
        self.consoles = Consoles()
        self.tails = Tails()
        self.figures: deque[MasterStats] = deque(maxlen=HISTORY)
        self._info: MasterInfo | None = None
        self._asked: dict[tuple[str, int], tuple[Asker, _Then]] = {}
        #: Logs to be read from the site, one in a cycle; and the last one, since it is asked for in
        #: parts.
        self._logs: deque[tuple[Asker, int, int]] = deque()
        self._read: tuple[int | None, str] = None, ""
        wire = self.socket(zmq.ROUTER)
        wire.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST)
        wire.setsockopt(zmq.RCVHWM, MAX_UNREAD)
        wire.setsockopt(zmq.SNDHWM, MAX_UNSENT)
        wire.setsockopt(zmq.ROUTER_MANDATORY, 1)  # we want to know who has gone
        wire.bind(config.console_queue)  # heard once we know who the master is
        self._wire = wire
        heard = self.socket(zmq.PULL, news)
        heard.hwm = NEWS_LIMIT
        heard.bind(config.news_queue)
        self.register(heard, self.handle_news)
        self._fleet = Client(self.ctx, config.fleet_queue, "SlaveDriver", self.logger)
        self.register(self._fleet.socket, lambda _: self._collect("fleet", self._fleet.answers()))
        self._db = DbClient(config, self.logger)
        self.register(self._db.socket, lambda _: self._collect("db", self._db.answers()))
        self._orders = self.socket(zmq.PUSH, reversed(orders))
        self._orders.hwm = 100
        self._orders.connect(config.orders_queue)
        self.every(timedelta(seconds=10), lambda: self.consoles.tick(self.clock.monotonic()))

    def close(self) -> None:
        """Close all sockets; the answer to QUIT still leaves."""
        self._wire.close(linger=1)
        self._orders.close()
        super().close()

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle; with one of the logs that are to be read, if there are any."""
        if self._logs:
            self._read_log(*self._logs.popleft())
            timeout = 0
        super().poll(timeout)

    # Consoles -------------------------------------------------------------------------------

    def handle_console(self, queue: Socket) -> None:
        """Take the requests of consoles that have come."""
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
            assert self._info is not None  # noqa: S101 (nobody is heard before)
            self._answer(asker, Welcome(LEVEL, self._info, self.paused))
            return
        who = self.consoles.heard(asker, now).who
        match msg:
            case "FIGURES":
                self._answer(asker, list(self.figures))
            case "SLAVES" | "HISTORY":
                self._ask("fleet", asker, _as_it_is, msg, data)
            case "QUEUE":
                self._ask("fleet", asker, self._heads, msg, min(data, MAX_QUEUE))
            case "BUILDS":
                self._ask("db", asker, _outcomes, "get_recent_builds", min(data, MAX_BUILDS))
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
        if verb == "QUIT" or (everyone and verb in ("SLEEP", "WAKE")):
            self._orders.send_msg(verb, flags=zmq.DONTWAIT)
            self._answer(asker, NoData if verb == "QUIT" else [])
        else:
            self._ask("fleet", asker, _as_it_is, verb, slaves)
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

    # Questions of ours ----------------------------------------------------------------------

    def _ask(
        self, whom: Literal["fleet", "db"], asker: Asker, then: _Then, msg: str, *args: Any
    ) -> None:
        self.consoles.opened(asker)
        client = self._fleet if whom == "fleet" else self._db
        try:
            ticket = client.request(msg, *args)
        except Unavailable:
            self.consoles.closed(asker)
            raise
        self._asked[whom, ticket] = asker, then

    def _collect(self, whose: str, answers: Iterable[Answer]) -> None:
        for answer in answers:
            asker, then = self._asked.pop((whose, answer.ticket))
            if answer.error is not None:
                self._end(asker, answer.error)
            elif (result := then(answer.result)) is not None:
                self._end(asker, result)

    def _end(self, asker: Asker, result: Any) -> None:
        """Answer a question that had to wait: with its *result*, or why there is none."""
        self.consoles.closed(asker)
        if isinstance(result, PiWheelsError):
            self._refuse(asker, result)
        else:
            self._answer(asker, result)

    def _heads(self, queues: dict[str, tuple[int, list[Any]]]) -> list[QueueHead]:
        pending = self.figures[-1].builds_pending if self.figures else {}
        heads: dict[str, Any] = dict.fromkeys(pending, (0, ())) | queues
        return [
            QueueHead(abi, pending.get(abi, waiting), first)
            for abi, (waiting, first) in heads.items()
        ]

    # Logs -----------------------------------------------------------------------------------

    def _log(self, asker: Asker, build_id: int, offset: int) -> None:
        def then(found: tuple[str, int] | None) -> LogPart | None:
            if found is None:
                self._logs.append((asker, build_id, offset))
                return None
            return LogPart(offset, *found)

        self._ask("db", asker, then, "get_build_log", build_id, offset, LOG_PART)

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

    def handle_news(self, queue: Socket) -> None:
        """Take what other tasks tell, and pass it on to who wants to hear it."""
        for _ in range(BURST):
            if not queue.poll(0):
                return
            match queue.recv_msg():
                case "INFO", info:
                    self._info = info
                    self.register(self._wire, self.handle_console)
                case "FIGURES", figures:
                    self.figures.append(figures)
                case "OUTPUT", output:
                    self.tails.add(output)
                    self._tell(self.consoles.watchers(output.slave_id), "OUTPUT", output)
                case "ENDED", (slave_id, outcome):
                    self.tails.drop(slave_id)
                    if outcome is not None:
                        self._tell(self.consoles.everyone(), "OUTCOME", outcome)
                case "TOLD", told:
                    self._tell_all(told)

    def _tell_all(self, told: CommandReport) -> None:
        self._tell(self.consoles.everyone(), "COMMAND", told)

    def _tell(self, askers: Iterable[Asker], msg: str, data: Any) -> None:
        frame = None
        for asker in list(askers):
            frame = frame or codec.dumps(msg, data)
            self._send(asker, frame)

    # What leaves ----------------------------------------------------------------------------

    def _answer(self, asker: Asker, result: Any) -> None:
        self._send(asker, codec.dumps("OK", result))

    def _refuse(self, asker: Asker, why: object) -> None:
        self._send(asker, codec.dumps("REFUSED", one_line(why)))

    def _send(self, asker: Asker, frame: bytes) -> None:
        try:
            self._wire.send_multipart([*asker, frame], zmq.DONTWAIT)
        except Unavailable:
            self.note_bad_message(BadMessage("a console does not read what it is sent"))
            self.consoles.forget(asker.peer)
        except zmq.ZMQError as exc:
            if exc.errno != zmq.EHOSTUNREACH:
                raise
            self.consoles.forget(asker.peer)  # it has gone


def _as_it_is(result: Any) -> Any:
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
