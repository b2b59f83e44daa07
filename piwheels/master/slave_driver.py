"""SlaveDriver, who talks to the build slaves.

What it says is decided in :mod:`piwheels.master.logic.fleet`. It never waits for another task: a
question goes out with a ticket, the loop goes on, and the slave's reply is sent when the answer has
come; a question without an answer is answered by its time-out.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import zmq

from piwheels.core.errors import BadMessage, Unavailable
from piwheels.core.host.pip_config import default_index
from piwheels.core.protocols import monitor_stats, slave_driver
from piwheels.core.tasks import PausingTask, TaskControl
from piwheels.master import rpc, wiring
from piwheels.master.file_juggler import FsClient
from piwheels.master.logic import effects
from piwheels.master.logic.fleet import HANDLERS, Fleet
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import MasterConfig, driver_control

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.states import SlaveState
    from piwheels.core.transport import Socket
    from piwheels.master.logic.effects import Effect

#: How many requests of slaves are taken in one go before the other sockets have their turn.
BURST = 100
#: How many events of a replay go to all consoles in one go, and how many are one answer to one that
#: asks for them; in both cases the slaves have their turn in between.
REPLAY_BURST, PAGE = 200, 2000


class SlaveDriver(PausingTask):
    """Hands versions to the slaves, and takes their builds in.

    The slaves drive: they ask, and it answers from its queues. It hears TheArchitect's queues,
    deletions, and operators' commands; it asks the database and FileJuggler, and tells the
    consoles and TheSecretary.
    """

    name = "slave_driver"
    #: How long another task may take to answer, in seconds.
    patience: ClassVar[float] = 120.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config, driver_control)
        self.fleet = Fleet(config.pypi_simple or default_index())
        self._questions = rpc.Questions(self.patience)
        self._slaves = self.socket(zmq.ROUTER, slave_driver)
        self._slaves.hwm = 10_000
        self._slaves.bind(config.slave_queue)  # heard once the leases are known
        builds = self.socket(zmq.PULL, wiring.builds)
        builds.hwm = 10
        builds.bind(config.builds_queue)
        self.register(builds, self.handle_build)
        deletes = self.socket(zmq.ROUTER)
        deletes.bind(config.delete_queue)
        self.register(deletes, self.handle_delete)
        questions = self.socket(zmq.ROUTER)
        questions.hwm = 10_000
        questions.bind(config.fleet_queue)
        self.register(questions, self.handle_question)
        self._events = self.socket(zmq.PUSH, monitor_stats)
        self._events.hwm = 100_000
        self._events.connect(config.events_queue)
        self._news = self.socket(zmq.PUSH, reversed(wiring.news))
        self._news.hwm = wiring.NEWS_LIMIT
        self._news.connect(config.news_queue)
        self._architect = self.socket(zmq.PUSH, reversed(wiring.architect))
        self._architect.hwm = 2
        self._architect.connect(config.architect_queue)
        self._web = rpc.Client(self.ctx, config.web_queue, "TheSecretary", self.logger)
        self._db = DbClient(config, self.logger)
        self._fs = FsClient(config, self.logger)
        collect = self._questions.collect
        self.register(self._web.socket, lambda _: collect("web", self._web.answers()))
        self.register(self._db.socket, lambda _: collect("db", self._db.answers()))
        self.register(self._fs.socket, lambda _: collect("fs", self._fs.answers()))
        #: The last slave that the replay under way has told of, if one is; whether another follows.
        self._replayed: int | None = None
        self._replay_again = False
        self.every(timedelta(seconds=10), self._tick)

    def once(self) -> None:
        """Ask what an earlier master has handed out; no slave is heard before that is known."""
        self._ask_leases()

    def close(self) -> None:
        """Close all sockets."""
        for each in (self._slaves, self._events, self._news, self._architect):
            each.close()
        super().close()

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle; with a part of the replay, if one is under way."""
        if self._replayed is not None:
            self._replay(self._replayed)
            timeout = 0
        super().poll(timeout)

    # Slaves ---------------------------------------------------------------------------------

    def handle_slave(self, queue: Socket) -> None:
        """Take the requests of slaves that have come."""
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

    def handle_build(self, queue: Socket) -> None:
        """Take new queues from TheArchitect; only the newest counts."""
        _, queues = queue.recv_msg()
        self.fleet.queue.replace(queues)

    def handle_delete(self, queue: Socket) -> None:
        """Forget what has been deleted upstream or by an administrator."""
        request = rpc.recv_request(queue)
        data = wiring.delete.received(request.msg, request.data)
        package, version = (data, None) if request.msg == "DELPKG" else data
        self.fleet.deletion(package, version)
        rpc.send_result(queue, request)

    def _tick(self) -> None:
        self._questions.expire()
        self._perform(self.fleet.tick(datetime.now(UTC)))

    # Operators ------------------------------------------------------------------------------

    def handle_control(self, queue: Socket) -> None:
        """Take an operator's command, or what every task hears."""
        try:
            super().handle_control(queue)
        except TaskControl as command:
            if command.msg == "HELLO":
                # One after the other, or who repeats it would have only the first slaves told.
                if self._replayed:
                    self._replay_again = True
                else:
                    self._replayed = 0
                return
            one = command.data
            self.fleet.command(command.msg, None if one is None else [one])
            target = "all slaves" if one is None else f"slave {one}"
            self.logger.warning("an operator said %s to %s", command.msg, target)

    def handle_question(self, queue: Socket) -> None:
        """Answer a question of TheOperator, or do a command; one in a cycle."""
        request = rpc.recv_request(queue)
        data = wiring.fleet.received(request.msg, request.data)
        match request.msg:
            case "SLAVES":
                result: Any = self.fleet.replay(data, PAGE)
            case "QUEUE":
                queues = self.fleet.queue.jobs.items()
                result = {
                    abi: (len(jobs), list(islice(self.fleet.queue.waiting(abi), data)))
                    for abi, jobs in queues
                }
            case verb:
                result = self.fleet.command(verb, data)
        rpc.send_result(queue, request, result)

    def _replay(self, after: int) -> None:
        events = self.fleet.replay(after, REPLAY_BURST)
        self._perform(events)
        if events:
            self._replayed = events[-1].slave_id
        else:
            self._replayed = 0 if self._replay_again else None
            self._replay_again = False

    def on_pause(self) -> None:
        """Hand out nothing while paused; what is being built goes on."""
        self.fleet.paused = True
        super().on_pause()

    def on_resume(self) -> None:
        """Hand out versions again."""
        self.fleet.paused = False
        super().on_resume()

    def kill_slave(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) told to end; from any thread."""
        self.send_control("KILL", slave_id)

    def skip_slave(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) give up what it builds; from any thread."""
        self.send_control("SKIP", slave_id)

    def sleep_slave(self, slave_id: int | None) -> None:
        """Give a slave (``None``: all) nothing more to build; from any thread."""
        self.send_control("SLEEP", slave_id)

    def wake_slave(self, slave_id: int | None) -> None:
        """End :meth:`sleep_slave`; from any thread."""
        self.send_control("WAKE", slave_id)

    def list_slaves(self) -> None:
        """Have everything told to the consoles again; from any thread."""
        self.send_control("HELLO")

    # Effects --------------------------------------------------------------------------------

    def _perform(self, todo: Iterable[Effect]) -> None:  # noqa: PLR0912 (a branch an effect)
        for effect in todo:
            match effect:
                case effects.Reply(address, msg, data):
                    self._slaves.send_addr_msg(address, msg, data)
                case effects.Publish(slave_id, timestamp, msg, data):
                    self._publish(slave_id, timestamp, msg, data)
                case effects.Spoken():
                    self._tell("OUTPUT", effect)
                case effects.Ended():
                    self._tell("ENDED", effect)
                case effects.Warn(slave_id, label, text):
                    self.logger.warning("slave %d (%s) %s", slave_id, label, text)
                case effects.More(active):
                    with suppress(Unavailable):  # it has been told a moment ago
                        self._architect.send_msg("MORE", active, zmq.DONTWAIT)
                case effects.Grant((package, version, abi), label, expires):
                    self._note("grant_lease", package, version, abi, label, expires)
                case effects.Renew(targets, expires):
                    self._note("renew_leases", targets, expires)
                case effects.Release((package, version, abi)):
                    self._note("release_lease", package, version, abi)
                case effects.AskPublished(slave_id, package):
                    self._ask_db(slave_id, "get_package_files", package)
                case effects.LogBuild(slave_id, build):
                    self._ask_db(slave_id, "log_build", build)
                case effects.Expect(slave_id, state, publish_as):
                    ticket = self._fs.request_expect(slave_id, state, publish_as)
                    self._await("fs", ticket, slave_id, "EXPECT")
                case effects.Verify(slave_id, package):
                    ticket = self._fs.request_verify(slave_id, package)
                    self._await("fs", ticket, slave_id, "VERIFY")
                case effects.Written(build):
                    self._written(build)

    def _publish(self, slave_id: int, timestamp: datetime, msg: str, data: Any) -> None:
        try:
            self._events.send_msg("SLAVE", [slave_id, timestamp, msg, data], zmq.DONTWAIT)
        except Unavailable:
            self.logger.debug("nobody takes what consoles would see")

    def _tell(self, msg: str, data: Any) -> None:
        try:
            self._news.send_msg(msg, data, zmq.DONTWAIT)
        except Unavailable:
            self.logger.debug("TheOperator is too busy for %s", msg)

    def _written(self, build: Any) -> None:
        word = "built" if build.status else "failed to build"
        what = f"{build.package} {build.version}"
        self.logger.info("slave %d %s %s for %s", build.slave_id, word, what, build.abi_tag)
        self._web.request("LOG", [build.build_id, build.output])
        # That was noted in the transaction that logged the build.
        self._web.request("NOTED", ["BOTH" if build.files else "PROJECT", build.package])

    def _ask_db(self, slave_id: int, method: str, *args: Any) -> None:
        self._await("db", self._db.request(method, *args), slave_id, method)

    def _await(self, whose: str, ticket: int, slave_id: int, what: str) -> None:
        """Go on with the slave's intake when the answer to what it asked for has come."""
        intake = self.fleet.intakes.get(slave_id)

        def then(result: Any, error: Exception | None) -> None:
            # Else the answer is for a build that was dropped meanwhile.
            if self.fleet.intakes.get(slave_id) is intake:
                self._perform(self.fleet.answered(slave_id, result, error, datetime.now(UTC)))

        self._questions.remember(whose, ticket, what, then)

    def _note(self, method: str, *args: Any) -> None:
        """Ask for something of which only a failure matters."""

        def then(_: Any, error: Exception | None) -> None:
            if error is not None:
                self.logger.warning("%s was not noted in the database: %s", method, error)

        self._questions.remember("db", self._db.request(method, *args), method, then)

    def _ask_leases(self) -> None:
        def then(leases: Any, error: Exception | None) -> None:
            if error is not None:
                self.logger.warning("slaves have to wait until the leases are known: %s", error)
                self._ask_leases()
            else:
                self.fleet.queue.take_leases(leases, datetime.now(UTC))
                self.register(self._slaves, self.handle_slave)

        self._questions.remember("db", self._db.request("get_leases"), "get_leases", then)
