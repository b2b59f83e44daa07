"""TheOperator: serves the consoles of protocol level 1.

A console's request carries a ticket, and so does its answer
(:data:`piwheels.core.protocols.console`). TheOperator asks SlaveDriver about slaves and the
database about logs and past builds, and passes commands for all tasks to the main thread; it never
blocks. It sends events of other tasks (ended builds, statistics, output) to the consoles. Any
program on the network may send here: a console with too many requests is refused, and one that does
not read is forgotten, without an effect on other consoles.
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
from piwheels.core.protocols import (
    BuildOutcome,
    CommandReport,
    FailureCount,
    Job,
    LogPart,
    Position,
    QueueHead,
    RetryAsked,
    Welcome,
    WhyAnswer,
    console,
)
from piwheels.core.recipes import recipe_words
from piwheels.core.targets import Target
from piwheels.core.tasks import PausingTask
from piwheels.core.wheels.tags import canonical, known_spelling
from piwheels.master.big_brother import HISTORY
from piwheels.master.logic.consoles import Consoles, OutputTails, Requester
from piwheels.master.logic.positions import position
from piwheels.master.logic.why import places_of, why
from piwheels.master.messages import (
    BuildEnded,
    CommandGiven,
    CommandMaster,
    CommandSlaves,
    ConsoleEvent,
    ListAbilities,
    ListLanes,
    ListPauses,
    ListQueue,
    ListSlaves,
    ListTargets,
    MasterStarted,
    OutputReceived,
    PagesNoted,
    SlaveHistory,
    StatsPublished,
)
from piwheels.master.ports import Ports
from piwheels.master.site.files import Site
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import warning_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from piwheels.core.database.rows import (
        EndedBuild,
        PlaceRow,
        PositionRow,
        ProjectData,
        ReasonCount,
        TargetRow,
    )
    from piwheels.core.protocols import AskWhy, FailuresAsked
    from piwheels.core.states import MasterInfo, MasterStats
    from piwheels.master.gate import Sender
    from piwheels.master.messages import Ability, FleetRequest
    from piwheels.master.ports import Inbox
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

    #: Converts the answer of another task into that of a console (``None``: it follows later).
    _Convert = Callable[[Any], Any]

#: The protocol level of this master.
LEVEL: Final = 1
#: How many requests or events are read before other sockets are served.
BURST: Final = 100
#: The most versions of an ABI, builds (or reasons of failures), failures with one reason, and
#: characters of a log in one answer.
MAX_QUEUE, MAX_BUILDS, MAX_FAILED, LOG_PART = 1000, 500, 200, 2**19
#: The most versions of one package whose wheels are explained.
MAX_WHY: Final = 20
#: The most days of which failures are counted.
MAX_DAYS: Final = 36_500


class TheOperator(PausingTask):
    """Answers consoles, passes on their commands, and sends them events.

    It continues while the farm is paused, and reports the pause to consoles.
    """

    name = "the_operator"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.site = Site(config.output_path, config.work_path)
        self.consoles = Consoles()
        self.tails = OutputTails()
        self.stats: deque[MasterStats] = deque(maxlen=HISTORY)
        self._info: MasterInfo | None = None
        #: The logs to read from the site, one in a cycle; the last one is kept, because consoles
        #: request it in parts.
        self._logs: deque[tuple[Requester, int, int]] = deque()
        self._last_log: tuple[int | None, str] = None, ""
        self.ports = Ports("TheOperator", config, self.logger, self)
        # The wire "console" is served when the master has started.
        self.ports.serve("console_events", self.handle_event)
        self._db = DbClient(self.ports)
        self.every(timedelta(seconds=10), lambda: self.consoles.tick(self.clock.monotonic()))

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle; read one log, if a console waits for one."""
        if self._logs:
            self._read_log(*self._logs.popleft())
            timeout = 0
        super().poll(timeout)

    # Consoles -------------------------------------------------------------------------------

    def handle_console(self, queue: Inbox[Any]) -> None:
        """Handle the requests of consoles that have arrived."""
        for _ in range(BURST):
            if not queue.poll(0):
                return
            peer, *frames = queue.recv_multipart()
            if len(frames) != 2 or len(frames[0]) != 8:
                self.note_bad_message(BadMessage("not a ticket of eight bytes and one frame"))
                continue
            requester = Requester(peer, frames[0])
            try:
                self._take(requester, frames[1], queue.sender)
            except BadMessage as exc:
                self.note_bad_message(exc)
                self._refuse(requester, f"not understood: {exc}")
            except Exception as exc:  # noqa: BLE001 (one request never ends the task)
                self._refuse(requester, self.unexpected("a request of a console", exc))

    def _take(self, requester: Requester, frame: bytes, sender: Sender) -> None:
        msg, data = codec.loads(frame)
        data = console.received(msg, data)
        sender.check(msg)
        now = self.clock.monotonic()
        if msg == "HELLO":
            self._greet(requester, sender.called(data.who), now, sender.name)
            return
        who = self.consoles.identify(requester, now, sender.name).who
        match msg:
            case "FIGURES":
                self._answer(requester, list(self.stats))
            case "SLAVES" | "HISTORY" | "HOSTS" | "TARGETS":
                self._ask_fleet(requester, _unchanged, _OF_FLEET[msg](data))
            case "QUEUE":
                self._ask_fleet(requester, self._heads, ListQueue(min(data, MAX_QUEUE)))
            case "POSITION" | "BUILDS" | "FAILURES" | "FAILED":
                convert, method, arguments = _OF_DATABASE[msg]
                self._ask_db(requester, convert, method, *arguments(data, self.clock.now()))
            case "LOG":
                self._log(requester, *data)
            case "WATCH" | "UNWATCH":
                self._watch(requester, data, ends=msg == "UNWATCH")
            case "KILL" | "SLEEP" | "SKIP" | "WAKE" | "QUIT":
                self._command(requester, who, msg, data)
            case "WHY":
                self._why(requester, data)
            case "RETRY":
                self._retry(requester, who, data)
            case "FIRST":
                self._put_first(requester, who, data)
            case _:
                raise BadMessage(f"{msg} has no handler")

    def _greet(self, requester: Requester, who: str, now: float, owner: str) -> None:
        is_new = requester.peer not in self.consoles.attached
        self.consoles.attach(requester, who, now, owner)
        assert self._info is not None  # noqa: S101 (no console is served before)
        welcome = Welcome(LEVEL, self._info, self.paused, warning_of(self.config))
        # Consoles of earlier versions do not know the warning.
        self._answer(requester, welcome if welcome.warning else welcome[:-1])
        if is_new:
            self.ports.ask("fleet", ListPauses(), partial(self._send_pauses, requester))

    def _command(self, requester: Requester, who: str, verb: Any, slaves: Any) -> None:
        all_slaves = slaves is None or slaves is NoData
        # The tasks pause through main. The slaves get every command from here, in one sequence.
        of_tasks = verb == "QUIT" or (all_slaves and verb in ("SLEEP", "WAKE"))
        if of_tasks and not self.ports.push("commands", CommandMaster(verb)):
            raise Unavailable("the master takes no more commands: try again")
        if verb == "QUIT":
            self._answer(requester, NoData)
        else:
            command = CommandSlaves(verb, None if all_slaves else slaves)
            self._ask_fleet(requester, _unchanged, command)
        some = "" if all_slaves else f" {', '.join(map(str, slaves[:10]))}"
        target = "all slaves" if all_slaves else f"{len(slaves)} slaves:{some}"
        self.logger.warning("%s said %s to %s", who, verb, target)
        self._publish_command(
            CommandReport(who, verb, None if all_slaves else slaves, self.clock.now())
        )

    def _why(self, requester: Requester, asked: AskWhy) -> None:
        """Say for each version, or one, and each target why there is no wheel."""
        package = canonical(asked.package)

        def then(convert: _Convert) -> Callable[[Result[Any]], None]:
            return partial(self._answered, requester, convert)

        def with_project(data: ProjectData | None) -> Refused | None:
            if data is None:
                return Refused("NOPKG", f"the farm does not know {package}")
            versions = list(data["releases"])
            if asked.version:
                versions = [known_spelling(asked.version, versions)]
                if versions[0] not in data["releases"]:
                    return Refused("NOVER", f"the farm does not know {package} {asked.version}")
            chosen = versions[:MAX_WHY]
            data["releases"] = {version: data["releases"][version] for version in chosen}
            left_out = len(versions) - len(chosen)
            self._db.ask(then(partial(with_targets, data, left_out)), "get_targets")
            return None

        def with_targets(data: ProjectData, left_out: int, rows: list[TargetRow]) -> None:
            targets = [Target(*row[:2]) for row in rows if not row.skip]
            following = partial(with_places, data, left_out, targets)
            self._db.ask(then(following), "get_places", package, list(data["releases"]))

        def with_places(
            data: ProjectData, left_out: int, targets: list[Target], rows: list[PlaceRow]
        ) -> None:
            places = places_of(rows, targets)

            def answer(abilities: list[Ability]) -> WhyAnswer:
                release = next((each.release for each in abilities if each.release), "")
                return WhyAnswer(why(data, targets, places, release), left_out)

            self.ports.ask("fleet", ListAbilities(), then(answer))

        self._ask_db(requester, with_project, "get_project_data", package)

    def _retry(self, requester: Requester, who: str, what: Job | RetryAsked) -> None:
        """Have the failed builds of a version, or those with a reason, repeated; or count these."""
        if isinstance(what, Job):
            package, version = canonical(what.package), what.version

            def then(count: int) -> int:
                return self._retried(who, f"{package} {version}", [package] * count)

            self._ask_db(requester, then, "retry_version", package, version)
            return
        chosen = _chosen(what.failures, self.clock.now())
        if what.preview:
            self._ask_db(requester, _unchanged, "count_reason", *chosen)
            return
        about = f"{' '.join(chosen[:2]).strip()} since {chosen[2]:%Y-%m-%d}"
        self._ask_db(requester, partial(self._retried, who, about), "retry_reason", *chosen)

    def _retried(self, who: str, about: str, packages: Sequence[str]) -> int:
        """Have the pages written of the *packages* of failures; return how many failures."""
        self.logger.warning("%s said RETRY to %s: %d failures", who, about, len(packages))
        for package in sorted(set(packages)):
            self.ports.ask("web", PagesNoted("PROJECT", package), _ignore_result)
        return len(packages)

    def _put_first(self, requester: Requester, who: str, job: Job) -> None:
        """Have a version built before others."""
        package, version = canonical(job.package), job.version

        def then(is_known: bool) -> Any:
            if not is_known:
                return Refused("FIRST", f"there is no {package} {version}")
            self.logger.warning("%s said FIRST to %s %s", who, package, version)
            return NoData

        self._ask_db(requester, then, "set_urgency", package, version, "first")

    def _watch(self, requester: Requester, slave_id: int, *, ends: bool) -> None:
        if ends:
            self.consoles.unwatch(requester, slave_id)
            self._answer(requester, NoData)
            return
        self.consoles.watch(requester, slave_id)
        self._answer(requester, NoData)
        tail = self.tails.get(slave_id)
        if tail is not None:
            self._send(requester, codec.dumps("OUTPUT", tail))

    # Requests to other tasks ----------------------------------------------------------------

    def _ask_fleet(self, requester: Requester, convert: _Convert, request: FleetRequest) -> None:
        self.consoles.open_request(requester)
        self.ports.ask("fleet", request, partial(self._answered, requester, convert))

    def _ask_db(self, requester: Requester, convert: _Convert, method: str, *args: Any) -> None:
        self.consoles.open_request(requester)
        self._db.ask(partial(self._answered, requester, convert), method, *args)

    def _answered(self, requester: Requester, convert: _Convert, result: Result[Any]) -> None:
        if result.error is not None:
            self._finish(requester, result.error)
            return
        try:
            answer = convert(result.value)
        except Exception as exc:  # noqa: BLE001 (one request never ends the task)
            answer = self.unexpected("a request of a console", exc)
        if answer is not None:
            self._finish(requester, answer)

    def _finish(self, requester: Requester, answer: Any) -> None:
        """Send the *answer* to a request that had to wait, or the error in its place."""
        self.consoles.close_request(requester)
        if isinstance(answer, PiWheelsError):
            self._refuse(requester, answer)
        else:
            self._answer(requester, answer)

    def _heads(self, queues: dict[str, tuple[int, list[Any]]]) -> list[QueueHead]:
        pending = self.stats[-1].builds_pending if self.stats else {}
        heads: dict[str, Any] = dict.fromkeys(pending, (0, ())) | queues
        return [
            QueueHead(abi, pending.get(abi, waiting), first)
            for abi, (waiting, first) in heads.items()
        ]

    # Logs -----------------------------------------------------------------------------------

    def _log(self, requester: Requester, build_id: int, offset: int) -> None:
        def convert(found: tuple[str, int] | None) -> LogPart | None:
            if found is None:
                self._logs.append((requester, build_id, offset))
                return None
            return LogPart(offset, *found)

        self._ask_db(requester, convert, "get_build_log", build_id, offset, LOG_PART)

    def _read_log(self, requester: Requester, build_id: int, offset: int) -> None:
        if self._last_log[0] != build_id:
            try:
                text = self.site.read_log(build_id)
            except OSError as exc:
                self.logger.error("cannot read the log of build %d: %s", build_id, exc)
                self._finish(
                    requester, Refused("LOG", f"the log cannot be read: {exc.strerror or exc}")
                )
                return
            if text is None:
                self._finish(requester, Refused("LOG", f"there is no log of build {build_id}"))
                return
            self._last_log = build_id, text
        text = self._last_log[1]
        self._finish(requester, LogPart(offset, text[offset : offset + LOG_PART], len(text)))

    # Events ---------------------------------------------------------------------------------

    def handle_event(self, queue: Inbox[ConsoleEvent]) -> None:
        """Send events of other tasks to the consoles that follow them."""
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
                    self._publish(self.consoles.watchers(output.slave_id), "OUTPUT", output)
                case BuildEnded(slave_id, outcome):
                    self.tails.drop(slave_id)
                    if outcome is not None:
                        self._publish(self.consoles.all(), "OUTCOME", outcome)
                case CommandGiven(command):
                    self._publish_command(command)
                case never:
                    assert_never(never)

    def _send_pauses(self, requester: Requester, result: Result[list[CommandReport]]) -> None:
        """Tell a new console which slaves are paused, and by whom."""
        for report in result.value if result.error is None else ():
            self._publish([requester], "COMMAND", report)

    def _publish_command(self, command: CommandReport) -> None:
        self._publish(self.consoles.all(), "COMMAND", command)

    def _publish(self, requesters: Iterable[Requester], msg: str, data: Any) -> None:
        frame = None
        for requester in list(requesters):
            frame = frame or codec.dumps(msg, data)
            self._send(requester, frame)

    # Sending --------------------------------------------------------------------------------

    def _answer(self, requester: Requester, result: Any) -> None:
        self._send(requester, codec.dumps("OK", result))

    def _refuse(self, requester: Requester, why: object) -> None:
        self._send(requester, codec.dumps("REFUSED", one_line(why)))

    def _send(self, requester: Requester, frame: bytes) -> None:
        try:
            self.ports.socket("console").send_multipart([*requester, frame], zmq.DONTWAIT)
        except Unavailable:
            self.note_bad_message(BadMessage("a console does not read its messages"))
            self.consoles.forget(requester.peer)
        except zmq.ZMQError as exc:
            if exc.errno != zmq.EHOSTUNREACH:
                raise
            self.consoles.forget(requester.peer)  # it has gone


def _since(days: int, now: datetime) -> datetime:
    return now - timedelta(days=min(days, MAX_DAYS))


def _chosen(failures: FailuresAsked, now: datetime) -> tuple[str, str, datetime]:
    return failures.reason, failures.subject, _since(failures.days, now)


#: The requests that SlaveDriver answers, and whose answers need no change.
_OF_FLEET: Final[Mapping[str, Callable[[Any], FleetRequest]]] = {
    "SLAVES": ListSlaves,
    "HISTORY": SlaveHistory,
    "HOSTS": ListLanes,
    "TARGETS": lambda _: ListTargets(),
}


def _unchanged(result: Any) -> Any:
    return result


def _ignore_result(_: Result[Any]) -> None:
    """Ignore an answer: TheSecretary logs its own errors."""


def _counts(rows: Iterable[ReasonCount]) -> list[FailureCount]:
    return [FailureCount(*row) for row in rows]


def _positions(rows: Iterable[PositionRow]) -> list[Position]:
    return list(map(position, rows))


def _outcomes(builds: Iterable[EndedBuild]) -> list[BuildOutcome]:
    return [
        BuildOutcome(
            build.build_id, build.slave_id, build.label, build.package, build.version,
            build.abi_tag, "ok" if build.status else "failed", build.duration, build.files,
            build.built_at, build.again, build.platform, build.reason, build.subject, build.cause,
            build.counts, "; ".join(recipe_words(build.recipe)), build.retry_at,
        )
        for build in builds
    ]  # fmt: skip


#: The requests that the database answers: what makes its answer one for a console, the method of
#: ``Database``, and its arguments from the data of the request and the present.
_OF_DATABASE: Final[Mapping[str, tuple[_Convert, str, Callable[[Any, datetime], Any]]]] = {
    "POSITION": (_positions, "explain_position", lambda job, _: job),
    "BUILDS": (_outcomes, "get_recent_builds", lambda most, _: [min(most, MAX_BUILDS)]),
    "FAILURES": (_counts, "count_reasons", lambda days, now: (_since(days, now), MAX_BUILDS)),
    "FAILED": (_outcomes, "get_failures", lambda asked, now: (*_chosen(asked, now), MAX_FAILED)),
}
