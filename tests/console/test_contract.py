"""The console's session with the real master: commands take effect and are acknowledged."""

import os
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import zmq

from helpers import INDEX, patience
from piwheels.console.model.commands import Phase, Verb
from piwheels.console.model.link import LinkState
from piwheels.console.model.slave import State
from piwheels.console.session import Session
from piwheels.console.wire.link import Link
from piwheels.core.codec import NoData
from piwheels.core.protocols import slave_driver
from piwheels.core.transport import Context

ABI = "cp311"
NAMES = ("status", "control", "console", "import", "log", "slave", "file")
STATS = [10**9] * 6
HOURS = timedelta(hours=3)


class Slave(threading.Thread):
    """A slave of protocol *level* that builds until the test says :attr:`finish`, and fails then.

    It is idle if there is no version to build for its *abi*.
    """

    def __init__(self, address, label, level, abi=ABI):
        super().__init__(name=label)
        self.address, self.label, self.level, self.abi = address, label, level, abi
        self.job, self.replies, self.lines, self.written = None, [], deque(), 0
        self.finish, self.stopping = threading.Event(), threading.Event()
        self.start()

    def run(self):
        while not self.stopping.is_set():
            with Context().socket(zmq.REQ, reversed(slave_driver)) as queue:
                queue.connect(self.address)
                request = self.hello()
                while request is not None:
                    queue.send_msg(*request)
                    request = self.next(*queue.recv_msg()) if self.answered(queue) else None
                if self.stopping.is_set() and queue.poll(0, zmq.POLLOUT):
                    queue.send_msg("BYE")

    def answered(self, queue):
        """Wait for a reply; return whether one came: a dead master sends none."""
        return any(queue.poll(0.1) or self.stopping.is_set() for _ in range(10)) and queue.poll(0)

    def hello(self):
        if self.level == 0:
            self.job = None
        features = [{"level": 1, "resume": self.job, "output": True}] if self.level else []
        about = ["311", self.abi, "linux_x86_64", self.label, "Debian", "12", "", ""]
        return "HELLO", [HOURS, timedelta(minutes=5), *about, *features]

    def next(self, msg, data):
        self.replies.append(msg)
        time.sleep(0.05)
        match msg:
            case "BUILD":
                self.job, self.written = list(data), 0
            case "SLEEP" | "DONE":
                self.job = None
            case "DIE":
                self.stopping.set()
        if self.stopping.is_set():
            return None
        if self.job is None:
            return "IDLE", self.stats()
        if self.finish.is_set():
            self.finish.clear()
            return "BUILT", [False, timedelta(seconds=5), f"{self.label} could not do it\n", []]
        if self.lines:
            offset, text = self.written, self.lines.popleft()
            self.written += len(text)
            return "OUTPUT", [offset, text]
        return "BUSY", self.stats()

    def stats(self):
        return [datetime.now(UTC), *STATS, 1.0, 50.0]


class Farm:
    """The master as a process, its slaves, and a console's session."""

    def __init__(self, root, dsn, level):
        self.root, self.dsn, self.level = root, dsn, level
        self.slaves, self.master = {}, None
        wires = ("status", "control", "console") if level else ("status", "control")
        addresses = {name: f"ipc://{root}/{name}" for name in wires}
        self.session = Session(
            Link(addresses, lambda: datetime.now(UTC)), who="a test", addresses=addresses
        )

    def start_master(self):
        wires = [f"--{name}-queue=ipc://{self.root}/{name}" for name in NAMES]
        with (self.root / "master.log").open("ab") as log:
            self.master = subprocess.Popen(
                [sys.executable, "-m", "piwheels.master", "--dev-mode", f"--dsn={self.dsn}",
                 f"--output-path={self.root / 'site'}", INDEX, *wires],
                env={**os.environ, "PIW_ALLOW_ROOT": "1", "HOME": str(self.root)}, stderr=log,
            )  # fmt: skip

    def add_slave(self, label, level, abi=ABI):
        self.slaves[label] = made = Slave(f"ipc://{self.root}/slave", label, level, abi)
        return made

    def until(self, condition, what, seconds=30):
        """Run the session until *condition* is true; return its value."""
        end = time.monotonic() + patience(seconds)
        while not (found := condition()):
            assert time.monotonic() < end, self.report(what)
            self.pump()
            time.sleep(0.02)
        return found

    def report(self, what):
        log = (self.root / "master.log").read_text()[-1500:]
        return f"{what}; {self.session.link_text()}\n{log}"

    def pump(self):
        now = datetime.now(UTC)
        while self.session.pump(now):
            pass
        self.session.tick(now)

    def attach(self, *labels):
        self.session.start(datetime.now(UTC))
        self.until(self.attached, "not attached")
        self.until(lambda: all(map(self.seen, labels)), f"not all of {labels} are seen")

    def attached(self):
        return self.session.state is LinkState.LIVE and self.session.level == self.level

    def seen(self, label):
        living = [s for s in self.session.farm.slaves.values() if s.reported is not State.DEAD]
        return next((slave for slave in living if slave.label == label), None)

    def command(self, verb, *labels):
        """Give a command; return it."""
        ids = [self.seen(label).id for label in labels]
        (command,) = self.session.command(verb, ids or None).commands
        return command

    def acknowledged(self, command):
        self.until(lambda: not command.phase.pending, f"{command.verb} is pending")
        assert command.phase is Phase.ACKNOWLEDGED, command

    def building(self, label):
        self.until(lambda: self.seen(label).reported is State.BUILD, f"{label} does not build")
        return self.seen(label).job

    def answer(self, msg, data):
        got = []
        assert self.session.ask(msg, data, lambda *answer: got.append(answer))
        ((found, why),) = self.until(lambda: got, f"no answer to {msg}")
        return found or why

    def close(self):
        for slave in self.slaves.values():
            slave.stopping.set()
        for slave in self.slaves.values():
            slave.join(patience(10))
        self.session.close()
        if self.master is not None:
            self.master.kill()
            self.master.wait()
        assert "Traceback" not in (self.root / "master.log").read_text()


@pytest.fixture
def make_farm(short_dir, db_dsn, db):
    db.add_build_abi(ABI)
    db.add_new_package("demo")
    for number in range(20):
        released = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        db.add_new_package_version("demo", f"{number}.0", released)

    @contextmanager
    def make(level):
        root = short_dir / f"contract{level}-{time.monotonic_ns() % 10**9}"
        root.mkdir()
        farm = Farm(root, db_dsn, level)
        farm.start_master()
        try:
            yield farm
        finally:
            farm.close()

    return make


@pytest.mark.parametrize("level", [1, 0])
def test_every_verb_is_acknowledged(make_farm, level):
    with make_farm(level) as farm:
        old, new = farm.add_slave("old", 0), farm.add_slave("new", 1)
        farm.add_slave("idle", 0, "cp39")  # nothing is built for it
        farm.attach("old", "new", "idle")
        # One idle slave, and two that build.
        farm.acknowledged(farm.command(Verb.PAUSE, "idle"))
        assert farm.seen("idle").reported is State.PAUSE
        farm.acknowledged(farm.command(Verb.RESUME, "idle"))
        assert farm.seen("idle").reported is not State.PAUSE
        before = farm.building("new")
        farm.acknowledged(farm.command(Verb.SKIP, "new"))
        farm.until(lambda: farm.seen("new").outcome, "nobody says how it ended")
        assert farm.seen("new").outcome[:4] == (*before, ABI, "skipped")
        assert farm.building("new") != before
        farm.building("old")
        stop = farm.command(Verb.KILL, "old")
        pause = farm.command(Verb.PAUSE, "new")
        busy = len(old.replies)
        farm.until(lambda: len(old.replies) > busy + 3, "the old slave says nothing")
        assert stop.phase.pending
        assert pause.phase.pending
        old.finish.set()
        new.finish.set()
        farm.acknowledged(stop)
        farm.acknowledged(pause)
        assert old.replies[-1] == "DIE"
        farm.acknowledged(farm.command(Verb.RESUME, "new"))
        # An abort does not wait for the end of a build.
        farm.building("new")
        farm.acknowledged(farm.command(Verb.ABORT, "new"))
        assert new.replies[-2:] == ["DONE", "DIE"]
        # The farm.
        last = farm.add_slave("last", 1)
        farm.until(lambda: farm.seen("last"), "not seen")
        farm.building("last")
        farm.acknowledged(farm.command(Verb.PAUSE))
        farm.acknowledged(farm.command(Verb.RESUME))
        farm.acknowledged(farm.command(Verb.HALT))
        farm.until(lambda: last.replies[-1] == "SLEEP", "it still builds")
        assert "BUILD" not in last.replies[last.replies.index("DONE") :]
        farm.acknowledged(farm.command(Verb.RESUME))
        farm.acknowledged(farm.command(Verb.ABORT, "idle"))
        farm.acknowledged(farm.command(Verb.QUIT))
        assert farm.session.state is LinkState.LOST
        assert farm.master.wait(patience(30)) == 0


def test_events_of_a_level_1_master(make_farm):
    with make_farm(1) as farm:
        old, new = farm.add_slave("old", 0), farm.add_slave("new", 1)
        farm.attach("old", "new")
        # An impossible command is rejected with the reason.
        idle = farm.add_slave("idle", 0, "cp39")
        farm.until(lambda: farm.seen("idle"), "not seen")
        skip = farm.command(Verb.SKIP, "idle")
        farm.until(lambda: not skip.phase.pending, "no answer")
        assert (skip.phase, skip.note) == (Phase.REFUSED, "not building")
        assert "DONE" not in idle.replies
        # The queue; two of its versions are being built.
        jobs = {farm.building("old"), farm.building("new")}
        heads = {head.abi: head for head in farm.answer("QUEUE", 3)}
        head = heads["any"]  # none has been built: any target may be the first
        assert (heads.keys(), len(head.first)) == ({ABI, "any"}, 3)
        targets = farm.answer("TARGETS", NoData)
        assert [one[1:4] for one in targets] == [(ABI, 0, 2)]
        place = farm.answer("POSITION", head.first[-1])[0]
        assert (place.abi, place.of) == ("any", 20)
        assert place.why
        assert head.pending in (18, 20)
        # A build's log while it runs,
        parts = []
        new.lines += ["before\n"]
        farm.until(lambda: not new.lines, "it has sent no output")
        assert farm.session.watch(farm.seen("new").id, lambda *part: parts.append(part))
        farm.until(lambda: parts, "no output")
        assert parts[0] == (0, "before\n")
        new.lines += ["caf\u00e9\n", "after\n"]
        farm.until(lambda: parts[-1] == (12, "after\n"), f"{parts}")
        farm.session.unwatch(farm.seen("new").id)
        new.lines += ["unseen\n"]
        farm.until(lambda: not new.lines, "it has sent no output")
        # ... and when it has ended.
        old.finish.set()
        done = farm.until(lambda: farm.session.recent, "no outcome")[0]
        assert (done.label, done.result, done.files) == ("old", "failed", 0)
        assert (done.package, done.version) in jobs
        farm.until(lambda: farm.seen("old").builds[-1].build_id == done.build_id, "its number")
        log = farm.answer("LOG", (done.build_id, 4))
        assert (log.offset, log.text) == (4, "could not do it\n")
        assert "no" in farm.answer("LOG", (10**6, 0))
        (kept,) = farm.answer("BUILDS", 5)
        assert kept._replace(ended=done.ended) == done
        assert parts[-1] == (12, "after\n")


def test_a_killed_and_restarted_master(make_farm):
    with make_farm(1) as farm:
        old, new = farm.add_slave("old", 0), farm.add_slave("new", 1)
        farm.attach("old", "new")
        job = farm.building("new")
        farm.building("old")
        pending = farm.command(Verb.KILL, "new")
        farm.until(lambda: pending.taken, "not taken")
        started = farm.session.farm.info.started
        farm.master.kill()
        farm.master.wait()
        farm.until(lambda: farm.session.state is LinkState.LOST, "not noticed")
        assert pending.phase is Phase.UNKNOWN
        farm.until(farm.session.advice, "no advice")
        refused = farm.session.command(Verb.HALT, None).commands
        assert {command.phase for command in refused} == {Phase.REFUSED}
        assert not farm.session.ask("QUEUE", 1, lambda *_: None)
        farm.start_master()
        farm.until(farm.attached, "not attached again")
        assert farm.session.farm.info.started > started
        farm.until(lambda: farm.seen("new") and farm.seen("old"), "not seen again")
        assert farm.building("new") == job  # it continued
        pause = farm.command(Verb.PAUSE, "old")
        old.finish.set()
        farm.acknowledged(pause)
        # The new master carries out no refused commands, nor those sent to the old one.
        assert "DIE" not in new.replies
        farm.acknowledged(farm.command(Verb.ABORT, "new"))
