"""SlaveDriver, who talks to the build slaves.

:mod:`piwheels.master.logic.fleet` decides. This task never waits for another one: a question goes
out with a ticket, the loop goes on, and the slave gets its reply when the answer has come, or its
time is over.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, assert_never

import zmq

from piwheels.core.errors import BadMessage, Refused, Unavailable
from piwheels.core.host.pip_config import default_index
from piwheels.core.protocols import monitor_stats, slave_driver
from piwheels.core.states import Instant
from piwheels.core.tasks import PausingTask, TaskControl
from piwheels.master import rpc, wiring
from piwheels.master.file_juggler import FsClient
from piwheels.master.logic import effects
from piwheels.master.logic.fleet import SILENCE, Fleet
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import MasterConfig, driver_control

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from piwheels.core.database.rows import Lease
    from piwheels.core.states import BuildState, SlaveState
    from piwheels.core.transport import Socket
    from piwheels.master.logic.effects import SlaveEffect, Target

#: How many requests of slaves are taken before the other sockets have their turn.
BURST = 100
#: How many events of a replay are published to all consoles before the slaves have their turn, and
#: how many are one answer to a console that asks for them.
REPLAY_BURST, PAGE = 200, 2000


class SlaveDriver(PausingTask):
    """Hands versions to the slaves, and takes their builds in.

    The slaves ask, and it answers from its queues. It gets the queues of TheArchitect, deletions,
    and commands of operators; it asks the database and FileJuggler, publishes events to the
    consoles, and has TheSecretary write pages.
    """

    name = "slave_driver"
    #: How long another task may take to answer, in seconds.
    patience: ClassVar[float] = 120.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config, driver_control)
        self.fleet = Fleet(config.pypi_simple or default_index())
        #: The slaves by address.
        self.slaves = self.fleet.slaves
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
        #: The last slave of the replay that is running, if one is; whether another has to follow.
        self._replayed: int | None = None
        self._replay_again = False
        self.every(timedelta(seconds=10), self._tick)

    def once(self) -> None:
        """Ask for the leases of an earlier master; requests of slaves wait until they are known."""
        self._ask_leases()

    def close(self) -> None:
        """Close all sockets."""
        for each in (self._slaves, self._events, self._news, self._architect):
            each.close()
        super().close()

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle; with a part of the replay, if one is running."""
        if self._replayed is not None:
            self._replay(self._replayed)
            timeout = 0
        super().poll(timeout)

    # Slaves ---------------------------------------------------------------------------------

    def handle_slave(self, queue: Socket) -> None:
        """Pass the requests of slaves to their ``do_`` methods, and perform what these decide."""
        for _ in range(BURST):
            if not queue.poll(0):
                return
            try:
                address, msg, data = queue.recv_addr_msg()
            except BadMessage as exc:
                self.note_bad_message(exc)
                if exc.address is not None:
                    why = str(exc)[:200]
                    self._perform(self.fleet.protocol_error(exc.address, why, self._instant()))
                continue
            slave, todo = self.fleet.receive(address, msg, data, self._instant())
            if slave is not None:
                todo = getattr(self, f"do_{msg.lower()}")(slave)
            self._perform(todo)

    def do_hello(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``HELLO``: greet a slave, and let it keep a build that it still has."""
        return self.fleet.do_hello(slave, self._instant())

    def do_idle(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``IDLE``, a request for work."""
        return self.fleet.do_idle(slave, self._instant())

    def do_busy(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``BUSY``, a slave's heartbeat during a build."""
        return self.fleet.do_busy(slave, self._instant())

    def do_output(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``OUTPUT``: new lines of a build's log, and a heartbeat."""
        return self.fleet.do_output(slave, self._instant())

    def do_built(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``BUILT``, the end of a build."""
        return self.fleet.do_built(slave, self._instant())

    def do_sent(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``SENT``, the end of a transfer."""
        return self.fleet.do_sent(slave, self._instant())

    def do_bye(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``BYE``: a slave leaves."""
        return self.fleet.do_bye(slave, self._instant())

    def _instant(self) -> Instant:
        return Instant(self.clock.monotonic(), self.clock.now())

    # Other tasks ----------------------------------------------------------------------------

    def handle_build(self, queue: Socket) -> None:
        """Replace the queues by those that TheArchitect has read."""
        _, queues = queue.recv_msg()
        self.fleet.queue.replace(queues)

    def handle_delete(self, queue: Socket) -> None:
        """Forget a package or version that was deleted upstream or by an administrator."""
        request = rpc.recv_request(queue)
        data = wiring.delete.received(request.msg, request.data)
        package, version = (data, None) if request.msg == "DELPKG" else data
        self.fleet.deletion(package, version)
        rpc.send_result(queue, request)

    def _tick(self) -> None:
        self._questions.expire()
        self._perform(self.fleet.tick(self._instant()))

    # Operators ------------------------------------------------------------------------------

    def handle_control(self, queue: Socket) -> None:
        """Carry out an operator's command, or a message that every task understands."""
        try:
            super().handle_control(queue)
        except TaskControl as command:
            if command.msg == "HELLO":
                # Replays never overlap, or repeated HELLOs would only ever show the first slaves.
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
        """Answer a question of TheOperator, or carry out a command; one in a cycle."""
        request = rpc.recv_request(queue)
        data = wiring.fleet.received(request.msg, request.data)
        match request.msg:
            case "HISTORY":
                try:
                    result: Any = self.fleet.history(data)
                except Refused as exc:
                    rpc.send_error(queue, request, exc)
                    return
            case "SLAVES":
                result = self.fleet.replay(data, PAGE)
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
        """Hand out nothing while paused; running builds go on."""
        self.fleet.paused = True
        super().on_pause()

    def on_resume(self) -> None:
        """Hand out versions again."""
        self.fleet.paused = False
        super().on_resume()

    def kill_slave(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) told to end after its build; from any thread."""
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
        """Have the past events of all slaves published again; from any thread."""
        self.send_control("HELLO")

    # Effects --------------------------------------------------------------------------------

    def _perform(self, todo: Iterable[SlaveEffect]) -> None:  # noqa: PLR0912 (a branch an effect)
        for effect in todo:
            match effect:
                case effects.Reply(address, msg, data):
                    self._slaves.send_addr_msg(address, msg, data)
                case effects.Publish(slave_id, timestamp, msg, data):
                    self._publish(slave_id, timestamp, msg, data)
                case effects.BuildOutput():
                    self._tell("OUTPUT", effect)
                case effects.Ended():
                    self._tell("ENDED", effect)
                case effects.Warn():
                    self._warn(effect)
                case effects.More(active):
                    with suppress(Unavailable):  # it got the same message a moment ago
                        self._architect.send_msg("MORE", active, zmq.DONTWAIT)
                case effects.Grant((package, version, abi), label, period):
                    self._note("grant_lease", package, version, abi, label, self._until(period))
                case effects.Renew(targets, period):
                    self._note("renew_leases", targets, self._until(period))
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
                case _:
                    assert_never(effect)

    def _until(self, period: timedelta) -> datetime:
        """Return the expiry of a lease as the database keeps it: a timestamp."""
        return self.clock.now() + period

    def _warn(self, effect: effects.Warn) -> None:
        self.logger.warning("slave %d (%s) %s", effect.slave_id, effect.label, effect.text)
        if effect.history:
            history = ", ".join(map(str, effect.history))
            self.logger.warning("slave %d (%s) was: %s", effect.slave_id, effect.label, history)

    def _publish(self, slave_id: int, timestamp: datetime, msg: str, data: Any) -> None:
        try:
            self._events.send_msg("SLAVE", [slave_id, timestamp, msg, data], zmq.DONTWAIT)
        except Unavailable:
            self.logger.debug("an event for consoles is lost: nobody reads them")

    def _tell(self, msg: str, data: Any) -> None:
        try:
            self._news.send_msg(msg, data, zmq.DONTWAIT)
        except Unavailable:
            self.logger.debug("TheOperator is too busy for %s", msg)

    def _written(self, build: BuildState) -> None:
        word = "built" if build.status else "failed to build"
        what = f"{build.package} {build.version}"
        self.logger.info("slave %d %s %s for %s", build.slave_id, word, what, build.abi_tag)
        self._web.request("LOG", [build.build_id, build.output])
        # The transaction that logged the build has noted the page already.
        self._web.request("NOTED", ["BOTH" if build.files else "PROJECT", build.package])

    def _ask_db(self, slave_id: int, method: str, *args: Any) -> None:
        self._await("db", self._db.request(method, *args), slave_id, method)

    def _await(self, whose: str, ticket: int, slave_id: int, what: str) -> None:
        """Have the slave's intake go on when the answer to its question has come."""
        intake = self.fleet.intakes.get(slave_id)

        def then(result: Any, error: Exception | None) -> None:
            # Otherwise the build was dropped in the meantime.
            if self.fleet.intakes.get(slave_id) is intake:
                self._perform(self.fleet.answered(slave_id, result, error, self._instant()))

        self._questions.remember(whose, ticket, what, then)

    def _note(self, method: str, *args: Any) -> None:
        """Have something noted in the database; only a failure matters."""

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
                now, at = self._instant()
                self.fleet.queue.take_leases(_remaining(leases, at), now)
                self.register(self._slaves, self.handle_slave)

        self._questions.remember("db", self._db.request("get_leases"), "get_leases", then)


def _remaining(leases: Iterable[Lease], at: datetime) -> dict[Target, float]:
    """Return the seconds that are left of each lease; never more than a slave may be silent."""
    longest = SILENCE[1].total_seconds()
    return {
        (lease.package, lease.version, lease.abi_tag): min(
            (lease.expires - at).total_seconds(), longest
        )
        for lease in leases
    }
