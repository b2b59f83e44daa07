"""piw-master and piw-slave as services: they say that they are ready, alive, stuck, ending."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from helpers import INDEX, add_source, patience
from piwheels.core import codec
from piwheels.core.paths import SERVICE
from piwheels.core.program.command_line import duration
from piwheels.master.app import CAST, STOP_LIMIT

DEPLOY = Path(__file__).parents[1] / "docs/deploy"
QUEUES = ("status", "control", "console", "import", "log", "slave", "file")


@pytest.fixture
def run_dir():
    with tempfile.TemporaryDirectory(prefix="piw-sd-") as name:
        yield Path(name)


class Ear:
    """Hears what a service says, a message at a time."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.heard = []

    def until(self, text, seconds=20.0):
        """Wait until *text* is said; return what was said before it."""
        end = time.monotonic() + patience(seconds)
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                said = self.socket.recv(5000).decode()
            except TimeoutError:
                break
            self.heard.append(said)
            if text in said:
                return
        pytest.fail(f"{text!r} was not said within {seconds} s, but {self.heard[-5:]}")

    def silent(self, seconds):
        """Tell whether nothing is said for so long, after what was said already."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(5000):
                pass
        except BlockingIOError:
            pass
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(5000)
        except TimeoutError:
            return True


@contextmanager
def service(run_dir, command, watchdog="2000000"):
    """Run *command* as systemd would; give what it says, and the process."""
    ear = Ear(run_dir / "notify")
    env = {**os.environ, "PIW_ALLOW_ROOT": "1", "HOME": "/nonexistent", "XDG_CONFIG_HOME": ""}
    env |= {"NOTIFY_SOCKET": str(ear.path), "WATCHDOG_USEC": watchdog}
    with (run_dir / "stderr").open("wb") as log:
        process = subprocess.Popen(command, env=env, stderr=log)
    try:
        yield ear, process
    finally:
        process.kill()
        process.wait()
        ear.socket.close()


def master(run_dir, dsn, *, code=""):
    wires = [f"--{name}-queue=ipc://{run_dir}/{name}" for name in QUEUES]
    run = f"{code}\nimport sys\nfrom piwheels.master.__main__ import main\nsys.exit(main())"
    return [
        sys.executable, "-c", run, f"--dsn={dsn}", f"--output-path={run_dir}/site", INDEX, *wires
    ]  # fmt: skip


def say(run_dir, *message):
    with zmq.Context.instance().socket(zmq.PUSH) as control:
        control.linger = 1000
        control.connect(f"ipc://{run_dir}/control")
        control.send(codec.dumps(*message))


def test_a_master_is_ready_alive_paused_frozen_and_ends(run_dir, db_dsn):
    with service(run_dir, master(run_dir, db_dsn)) as (ear, process):
        ear.until("READY=1\nSTATUS=listening for slaves on ipc://")
        assert not any("WATCHDOG" in said for said in ear.heard)
        ear.until("WATCHDOG=1")
        ear.until("WATCHDOG=1", 2)
        say(run_dir, "SLEEP", None)
        ear.until("STATUS=paused by an operator")
        ear.until("WATCHDOG=1", 2)
        ear.until("WATCHDOG=1", 2)
        process.send_signal(signal.SIGSTOP)
        assert ear.silent(2)
        process.send_signal(signal.SIGCONT)
        ear.until("WATCHDOG=1", 3)
        say(run_dir, "QUIT")
        ear.until("STOPPING=1")
        assert process.wait(patience(20)) == 0


STUCK = """
import time
from pathlib import Path
from piwheels.master import app
class Hangs(app.TheArchitect):
    stuck_after = 1.0
    def poll(self, timeout=1):
        super().poll(0.1)
        while Path({flag!r}).exists():
            time.sleep(0.05)
app.CAST = tuple(Hangs if kind is app.TheArchitect else kind for kind in app.CAST)
"""


def test_a_task_that_hangs_ends_the_feeding_and_shows_where(run_dir, db_dsn):
    flag = run_dir / "hang"
    code = STUCK.format(flag=str(flag))
    with service(run_dir, master(run_dir, db_dsn, code=code)) as (ear, process):
        ear.until("WATCHDOG=1")
        flag.touch()
        ear.until("STATUS=stuck: the_architect")
        assert ear.silent(2)
        flag.unlink()
        ear.until("WATCHDOG=1", 5)
        flag.touch()
        ear.until("STATUS=stuck: the_architect")
        process.send_signal(signal.SIGABRT)  # as the watchdog does
        assert process.wait(patience(10)) == -signal.SIGABRT
    said = (run_dir / "stderr").read_text()
    assert "stuck: the_architect for" in said
    assert "in poll" in said


def test_a_master_that_cannot_start_is_never_ready(run_dir):
    command = master(run_dir, "postgresql:///x?host=/nonexistent")
    with service(run_dir, command) as (ear, process):
        assert process.wait(patience(20)) == 1
        assert ear.silent(0.1)
        assert ear.heard == []


def test_a_slave_is_ready_without_a_master_and_fed_while_it_builds(run_dir, tmp_path):
    add_source(tmp_path, before="import time; time.sleep(3)")
    command = [
        sys.executable, "-m", "piwheels.slave", f"--slave-queue=ipc://{run_dir}/slave",
        f"--file-queue=ipc://{run_dir}/file", f"--dir={run_dir}",
    ]  # fmt: skip
    with service(run_dir, command) as (ear, process):
        ear.until("READY=1\nSTATUS=waiting for the master at ipc://")
        ear.until("WATCHDOG=1")
        with zmq.Context.instance().socket(zmq.REP) as queue:
            queue.linger = 0
            queue.rcvtimeo = 20_000
            queue.bind(f"ipc://{run_dir}/slave")
            assert codec.loads(queue.recv())[0] == "HELLO"
            queue.send(codec.dumps("ACK", [7, tmp_path.as_uri()]))
            assert codec.loads(queue.recv())[0] == "IDLE"
            ear.until("STATUS=idle, as number 7")
            queue.send(codec.dumps("BUILD", ["demo", "1.0"]))
            ear.until("STATUS=building demo 1.0")
            ear.until("WATCHDOG=1", 3)
            ear.until("WATCHDOG=1", 3)
            process.send_signal(signal.SIGSTOP)
            assert ear.silent(2)
            process.send_signal(signal.SIGCONT)
            ear.until("WATCHDOG=1", 3)
            process.terminate()
            ear.until("STOPPING=1")
            assert process.wait(patience(20)) == 0


def unit(name):
    """Return what a unit file says, by section: the values of each key."""
    found = {}
    for line in (DEPLOY / name).read_text().splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_a_unit_starts_a_program_of_ours(path):
    programs = tomllib.loads((DEPLOY.parents[1] / "pyproject.toml").read_text())["project"]
    service = unit(path.name)["Service"]
    assert Path(service["ExecStart"][0].split()[0]).name in programs["scripts"]
    assert service["Restart"] == ["on-failure"]


@pytest.mark.parametrize("name", ["piw-master", "piw-slave"])
def test_a_unit_agrees_with_what_its_program_says(name):
    service = unit(f"{name}.service")["Service"]
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]
    # Twice as long as the program's main thread may be at something else.
    longest = {"piw-master": 2, "piw-slave": 60}[name]
    assert duration(service["WatchdogSec"][0]).total_seconds() >= 2 * longest
    if name == "piw-master":
        assert f"/run/{service['RuntimeDirectory'][0]}" == str(SERVICE)
        assert duration(service["TimeoutStopSec"][0]).total_seconds() > STOP_LIMIT * len(CAST)
