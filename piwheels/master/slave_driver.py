"""SlaveDriver, who talks to the build slaves.

:mod:`piwheels.master.logic.fleet` decides its replies. It never waits for another task: it sends a
request and goes on with its loop, and the slave gets its reply when the answer has come, or when
the time for it is up.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, assert_never

import zmq

from piwheels.core.errors import BadMessage, Unavailable
from piwheels.core.host.pip_config import default_index
from piwheels.core.protocols import Output
from piwheels.core.tasks import PausingTask, TaskControl
from piwheels.master.fs_client import FsClient
from piwheels.master.logic import effects
from piwheels.master.logic.fleet import HANDLERS, Fleet
from piwheels.master.messages import (
    BuildEnded,
    BuildOutput,
    BuildQueue,
    CommandSlaves,
    DeletePackage,
    DeleteVersion,
    Deletion,
    FleetRequest,
    ListQueue,
    ListSlaves,
    PagesNoted,
    QueueEmpty,
    WriteLog,
)
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import MasterConfig, driver_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.core.states import SlaveState
    from piwheels.core.transport import Socket
    from piwheels.master.logic.effects import Effect
    from piwheels.master.ports import Inbox
    from piwheels.master.result import Result

#: How many requests of slaves are read in one go before the other sockets have their turn.
BURST = 100
#: How many events of a replay are published in one go, and how many are one answer to a console;
#: in both cases the slaves have their turn in between.
REPLAY_BURST, PAGE = 200, 2000


class SlaveDriver(PausingTask):
    """Hands versions to the slaves, and keeps their builds.

    Slaves send requests, and it replies from its queue. It takes TheArchitect's queues, deletions
    and operators' commands, asks the database and FileJuggler, and reports to the consoles and
    TheSecretary.
    """

    name = "slave_driver"
    #: How long another task may take to answer, in seconds.
    patience: ClassVar[float] = 120.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config, driver_control)
        self.fleet = Fleet(config.pypi_simple or default_index())
        self.ports = Ports("SlaveDriver", config, self.logger, self)
        self.ports.serve("builds", self.handle_build)
        self.ports.serve("deletions", self.handle_delete)
        self.ports.serve("fleet", self.handle_question)  # "slave" follows when the leases are known
        self._db = DbClient(self.ports, self.patience)
        self._fs = FsClient(self.ports, self.patience)
        #: The last slave that the running replay has sent, if one runs; whether another follows.
        self._replayed: int | None = None
        self._replay_again = False
        self.every(timedelta(seconds=10), self._tick)

    def once(self) -> None:
        """Ask for the leases of an earlier master; slaves are served once they are known."""
        self._ask_leases()

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle, with a part of the replay if one runs."""
        if self._replayed is not None:
            self._replay(self._replayed)
            timeout = 0
        super().poll(timeout)

    # Slaves ---------------------------------------------------------------------------------

    def handle_slave(self, queue: Socket) -> None:
        """Read the requests of slaves that have come."""
        for _ in range(BURST):
            if not queue.poll(0):
                return
            now = datetime.now(UTC)
            try:
                address, msg, data = queue.recv_addr_msg()
            except BadMessage as exc:
                self.note_bad_message(exc)
                if exc.address is not None:
                    self._perform(self.fleet.protocol_error(exc.address, str(exc)[:200], now))
                continue
            self._perform(self.fleet.request(address, msg, data, now))

    def do_hello(self, slave: SlaveState) -> list[Effect]:
        """Decide on a slave's first request."""
        return self.fleet.do_hello(slave, datetime.now(UTC))

    def do_idle(self, slave: SlaveState) -> list[Effect]:
        """Decide on a request for work."""
        return HANDLERS["IDLE"](self.fleet, slave, datetime.now(UTC))

    def do_busy(self, slave: SlaveState) -> list[Effect]:
        """Decide on a sign of life during a build."""
        return HANDLERS["BUSY"](self.fleet, slave, datetime.now(UTC))

    def do_built(self, slave: SlaveState) -> list[Effect]:
        """Decide on the end of a build."""
        return HANDLERS["BUILT"](self.fleet, slave, datetime.now(UTC))

    def do_sent(self, slave: SlaveState) -> list[Effect]:
        """Decide on the end of a transfer."""
        return HANDLERS["SENT"](self.fleet, slave, datetime.now(UTC))

    def do_bye(self, slave: SlaveState) -> list[Effect]:
        """Decide on a slave's leaving."""
        return HANDLERS["BYE"](self.fleet, slave, datetime.now(UTC))

    # Other tasks ----------------------------------------------------------------------------

    def handle_build(self, queue: Inbox[BuildQueue]) -> None:
        """Replace the queue by a newer one from TheArchitect."""
        self.fleet.queue.replace(queue.recv().queues)

    def handle_delete(self, queue: Inbox[Deletion]) -> None:
        """Forget a package or version that upstream or an administrator has deleted."""
        ticket = queue.recv_ticket()
        match ticket.request:
            case DeletePackage(package):
                self.fleet.deletion(package, None)
            case DeleteVersion(package, version):
                self.fleet.deletion(package, version)
            case never:
                assert_never(never)
        ticket.answer()

    def _tick(self) -> None:
        self._perform(self.fleet.tick(datetime.now(UTC)))

    # Operators ------------------------------------------------------------------------------

    def handle_control(self, queue: Socket) -> None:
        """Take an operator's command, or a command that every task takes."""
        try:
            super().handle_control(queue)
        except TaskControl as command:
            if command.msg == "HELLO":
                # One after the other: repeated requests would restart the replay each time.
                if self._replayed:
                    self._replay_again = True
                else:
                    self._replayed = 0
                return
            one = command.data
            self.fleet.command(command.msg, None if one is None else [one])
            target = "all slaves" if one is None else f"slave {one}"
            self.logger.warning("an operator said %s to %s", command.msg, target)

    def handle_question(self, queue: Inbox[FleetRequest]) -> None:
        """Answer a request of TheOperator; one in a cycle."""
        ticket = queue.recv_ticket()
        match ticket.request:
            case ListSlaves(after):
                ticket.answer(self.fleet.replay(after, PAGE))
            case ListQueue(most):
                waiting = self.fleet.queue.waiting
                queues = self.fleet.queue.jobs.items()
                ticket.answer(
                    {abi: (len(jobs), list(islice(waiting(abi), most))) for abi, jobs in queues}
                )
            case CommandSlaves(verb, slaves):
                ticket.answer(self.fleet.command(verb, slaves))
            case never:
                assert_never(never)

    def _replay(self, after: int) -> None:
        events = self.fleet.replay(after, REPLAY_BURST)
        self._perform(events)
        if events:
            self._replayed = events[-1].slave_id
        else:
            self._replayed = 0 if self._replay_again else None
            self._replay_again = False

    def on_pause(self) -> None:
        """Hand out nothing while paused; running builds go on."""
        self.fleet.paused = True
        super().on_pause()

    def on_resume(self) -> None:
        """Hand out versions again."""
        self.fleet.paused = False
        super().on_resume()

    def kill_slave(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) end after its build; from any thread."""
        self.send_control("KILL", slave_id)

    def skip_slave(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) abandon its build; from any thread."""
        self.send_control("SKIP", slave_id)

    def sleep_slave(self, slave_id: int | None) -> None:
        """Give a slave (``None``: all) nothing more to build; from any thread."""
        self.send_control("SLEEP", slave_id)

    def wake_slave(self, slave_id: int | None) -> None:
        """End :meth:`sleep_slave`; from any thread."""
        self.send_control("WAKE", slave_id)

    def list_slaves(self) -> None:
        """Publish the state of every slave again; from any thread."""
        self.send_control("HELLO")

    # Effects --------------------------------------------------------------------------------

    def _perform(self, todo: Iterable[Effect]) -> None:  # noqa: PLR0912 (a branch an effect)
        for effect in todo:
            match effect:
                case effects.Reply(address, msg, data):
                    self.ports.socket("slave").send_addr_msg(address, msg, data)
                case effects.Publish(slave_id, timestamp, msg, data):
                    self._publish(slave_id, timestamp, msg, data)
                case effects.Spoken():
                    self.ports.push("news", BuildOutput(Output(*effect)))
                case effects.Ended(slave_id, outcome):
                    self.ports.push("news", BuildEnded(slave_id, outcome))
                case effects.Warn(slave_id, label, text):
                    self.logger.warning("slave %d (%s) %s", slave_id, label, text)
                case effects.More(active):
                    self.ports.push("architect", QueueEmpty(active))
                case effects.Grant((package, version, abi), label, expires):
                    self._note("grant_lease", package, version, abi, label, expires)
                case effects.Renew(targets, expires):
                    self._note("renew_leases", targets, expires)
                case effects.Release((package, version, abi)):
                    self._note("release_lease", package, version, abi)
                case effects.AskPublished(slave_id, package):
                    self._db.ask(self._continue(slave_id), "get_package_files", package)
                case effects.LogBuild(slave_id, build):
                    self._db.ask(self._continue(slave_id), "log_build", build)
                case effects.Expect(slave_id, state, publish_as):
                    self._fs.expect(slave_id, state, publish_as, self._continue(slave_id))
                case effects.Verify(slave_id, package):
                    self._fs.verify(slave_id, package, self._continue(slave_id))
                case effects.Written(build):
                    self._written(build)

    def _publish(self, slave_id: int, timestamp: datetime, msg: str, data: Any) -> None:
        try:
            event = [slave_id, timestamp, msg, data]
            self.ports.socket("events").send_msg("SLAVE", event, zmq.DONTWAIT)
        except Unavailable:
            self.logger.debug("events: no room for SLAVE")

    def _written(self, build: Any) -> None:
        word = "built" if build.status else "failed to build"
        what = f"{build.package} {build.version}"
        self.logger.info("slave %d %s %s for %s", build.slave_id, word, what, build.abi_tag)
        self.ports.ask("web", WriteLog(build.build_id, build.output), _ignore)
        # The transaction that logged the build has noted the pages.
        part: Any = "BOTH" if build.files else "PROJECT"
        self.ports.ask("web", PagesNoted(part, build.package), _ignore)

    def _continue(self, slave_id: int) -> Callable[[Result[Any]], None]:
        """Return a callback that goes on with the slave's build when an answer has come."""
        intake = self.fleet.intakes.get(slave_id)

        def then(result: Result[Any]) -> None:
            # Otherwise the answer is for a build that was dropped meanwhile.
            if self.fleet.intakes.get(slave_id) is intake:
                value, error = result
                self._perform(self.fleet.answered(slave_id, value, error, datetime.now(UTC)))

        return then

    def _note(self, method: str, *args: Any) -> None:
        """Call a method of the database whose failure is only logged."""

        def then(result: Result[None]) -> None:
            if result.error is not None:
                self.logger.warning("%s was not noted in the database: %s", method, result.error)

        self._db.ask(then, method, *args)

    def _ask_leases(self) -> None:
        def then(result: Result[Any]) -> None:
            if result.error is not None:
                error = result.error
                self.logger.warning("slaves have to wait until the leases are known: %s", error)
                self._ask_leases()
            else:
                self.fleet.queue.take_leases(result.value, datetime.now(UTC))
                self.ports.serve("slave", self.handle_slave)

        self._db.ask(then, "get_leases")


def _ignore(_: Result[Any]) -> None:
    """Take an answer that changes nothing: TheSecretary logs its own errors."""
