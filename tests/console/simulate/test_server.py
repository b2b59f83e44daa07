"""The simulated master's sockets, as consoles of both levels see them."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import zmq

from helpers import patience
from piwheels.console.clock import ConsoleClock
from piwheels.console.model.commands import Phase, Verb
from piwheels.console.model.link import LinkState
from piwheels.console.model.slave import State
from piwheels.console.session import Session
from piwheels.console.simulate.app import attach_line, main
from piwheels.console.simulate.server import Server
from piwheels.console.simulate.world import World
from piwheels.console.wire.link import Link
from piwheels.core import codec
from piwheels.core.protocols import Greeting, console, master_control, monitor_stats
from piwheels.core.transport import Context

DEADLINE = 30


def now():
    return datetime.now(UTC)


class Farm:
    """A simulated master in a thread, at *addresses*."""

    def __init__(self, folder, *, level=1, count=30, **how):
        names = ("status", "control", "console")[: 2 + level]
        self.addresses = {name: f"ipc://{folder}/{name}" for name in names}
        self.world = World(count, 1, now() - timedelta(minutes=10), pace=20, **how)
        self.world.live_until(now())
        self.open()

    def open(self):
        self._stop = threading.Event()
        self.server = Server(self.world, self.addresses)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        with contextlib.closing(self.server):
            while not self._stop.is_set() and not self.server.ended:
                self.server.turn(now(), 0.02)

    def close(self):
        self._stop.set()
        self._thread.join()


@pytest.fixture
def make_farm(short_dir):
    made = []

    def make(**how):
        made.append(Farm(short_dir / f"s{time.monotonic_ns() % 10**9}", **how))
        return made[-1]

    yield make
    for farm in made:
        farm.close()


@pytest.fixture
def attach():
    """Return a function that makes sessions attached to a farm."""
    made = []

    def make(farm):
        session = Session(
            Link(farm.addresses, ConsoleClock()), who="dave@ops", addresses=farm.addresses
        )
        made.append(session)
        session.start(now())
        wait(session, lambda: session.link.attached)
        return session

    yield make
    for session in made:
        session.close()


def wait(session, wanted):
    end = time.monotonic() + patience(DEADLINE)
    while not wanted():
        assert time.monotonic() < end, f"it has not come to pass: {session.state}"
        session.pump(now())
        session.tick(now())
        time.sleep(0.02)


@pytest.mark.parametrize("level", [0, 1])
def test_a_console_attaches_and_sees_the_farm(make_farm, attach, level):
    farm = make_farm(level=level)
    session = attach(farm)
    assert session.level == level
    assert session.farm.info == farm.world.info
    wait(session, lambda: len(session.farm.slaves) >= 25)
    labels = {slave.label for slave in session.farm.slaves.values()}
    assert labels <= {board.info.label for board in farm.world.boards}
    wait(session, lambda: session.farm.builds)


@pytest.mark.parametrize("level", [0, 1])
def test_commands_are_acknowledged(make_farm, attach, level):
    farm = make_farm(level=level)
    session = attach(farm)
    well = {board.info.label for board in farm.world.boards if not board.fault}
    builders = [
        slave.id
        for slave in session.farm.slaves.values()
        if slave.reported is State.BUILD and slave.label in well
    ]
    batch = session.command(Verb.ABORT, builders[-2:])
    wait(session, lambda: not batch.pending)
    phases = {command.phase for command in batch.commands}
    assert phases <= {Phase.ACKNOWLEDGED, Phase.SUPERSEDED}
    assert Phase.ACKNOWLEDGED in phases


def test_a_level_1_master_answers_requests(make_farm, attach):
    farm = make_farm()
    session = attach(farm)
    wait(session, lambda: session.queue and session.recent)
    got = []
    build = next(each for each in session.recent if each.build_id is not None)
    session.ask("LOG", (build.build_id, 10), lambda data, why: got.append((data, why)))
    session.ask("LOG", (1, 0), lambda data, why: got.append((data, why)))
    number = next(iter(session.farm.slaves))
    session.ask("HISTORY", number, lambda data, why: got.append((data, why)))
    wait(session, lambda: len(got) == 3)
    (part, _), (nothing, why), (history, _) = got
    assert history[-1] in farm.world.history(number)  # it continues meanwhile
    assert (part.text, part.size) == (farm.world.log(build.build_id)[10:], part.size)
    assert (nothing, why) == (None, "there is no log of build 1")


def test_the_output_of_a_build_is_sent(make_farm, attach):
    farm = make_farm()
    session = attach(farm)
    said = {}
    for slave in list(session.farm.slaves.values()):
        session.watch(
            slave.id,
            lambda offset, text, key=slave.id: said.setdefault(key, []).append((offset, text)),
        )
    wait(session, lambda: any(len(parts) > 2 for parts in said.values()))
    for number in list(said):
        session.unwatch(number)
    wait(session, lambda: not farm.world.watched)


def test_a_console_without_a_greeting_is_refused(make_farm):
    farm = make_farm()
    with Context().socket(zmq.DEALER) as dealer:
        dealer.connect(farm.addresses["console"])

        def ask(frame, ticket=b"12345678"):
            dealer.send_multipart([ticket, frame])
            assert dealer.poll(patience(DEADLINE))
            answered, reply = dealer.recv_multipart()
            assert answered == ticket
            msg, data = codec.loads(reply)
            return msg, reversed(console).received(msg, data)

        assert ask(codec.dumps("SLAVES", 0))[0] == "REFUSED"
        assert ask(b"\xff")[0] == "REFUSED"
        assert ask(codec.dumps("DANCE"))[0] == "REFUSED"
        dealer.send_multipart([b"short", b"x"])  # no answer: it had no ticket
        assert ask(codec.dumps("HELLO", Greeting(1, "x")))[0] == "OK"
        assert ask(codec.dumps("SKIP", [9999])) == ("OK", [[9999, "no such slave"]])


def test_a_restart_is_a_new_master(make_farm, attach):
    farm = make_farm()
    session = attach(farm)
    wait(session, lambda: max(session.farm.slaves) > 25)
    farm.close()
    wait(session, lambda: session.state is LinkState.LOST)
    farm.world.restart(now())
    farm.open()
    wait(session, lambda: session.farm.info == farm.world.info)
    wait(session, lambda: session.state is LinkState.LIVE)
    wait(session, lambda: 1 in session.farm.slaves)
    assert set(session.farm.slaves) <= set(range(40))


def test_a_hostile_farm_does_not_harm_the_console(make_farm, attach):
    farm = make_farm(hostile=True)
    session = attach(farm)
    wait(session, lambda: session.link.garbled > 5)
    wait(session, lambda: len(session.farm.slaves) >= 25)
    session.farm.validate()
    shown = [slave.label for slave in session.farm.slaves.values()]
    shown += [f"{entry.what}{entry.detail}{entry.label}" for entry in session.journal.entries]
    assert not [text for text in shown if not text.isprintable()]


def test_quit_stops_the_simulator(make_farm, attach):
    farm = make_farm()
    session = attach(farm)
    batch = session.command(Verb.QUIT, None)
    wait(session, lambda: not batch.pending)
    assert batch.commands[0].phase is Phase.ACKNOWLEDGED
    assert farm.server.ended


# The program --------------------------------------------------------------------------------------


def test_the_program_restarts_and_ends(short_dir):
    folder = short_dir / "program"
    command = [sys.executable, "-m", "piwheels.console.simulate", "--slaves", "5"]
    process = subprocess.Popen(
        [*command, "--dir", folder, "--speed", "10"], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.strip() == "attach with: " + attach_line(
            {name: f"ipc://{folder}/{name}" for name in ("status", "control", "console")}
        )
        started = greeting(folder)
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + patience(DEADLINE)
        while greeting(folder) == started:
            assert time.monotonic() < end, "it was not restarted"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def greeting(folder):
    """Wait for a greeting of the master in *folder*; return its start."""
    context = Context()
    with (
        context.socket(zmq.SUB, reversed(monitor_stats)) as status,
        context.socket(zmq.PUSH, reversed(master_control)) as control,
    ):
        status.subscribe()
        status.connect(f"ipc://{folder}/status")
        control.connect(f"ipc://{folder}/control")
        end = time.monotonic() + patience(DEADLINE)
        while time.monotonic() < end:
            control.send_msg("HELLO")
            if status.poll(0.5) and (message := status.recv_msg())[0] == "HELLO":
                return message[1].started
    raise AssertionError("nobody says HELLO")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--level", "2"], "--level is 0 or 1"),
        (["--dir", "/proc/nowhere"], "cannot make the folder"),
    ],
)
def test_startup_errors(args, why, capsys):
    assert main([*args, "--slaves", "1"]) == 1
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("args", [["--slaves", "-1"], ["--speed", "0"], ["--slaves", "many"]])
def test_invalid_options(args, capsys):
    with pytest.raises(SystemExit):
        main(args)
    assert args[0] in capsys.readouterr().err
