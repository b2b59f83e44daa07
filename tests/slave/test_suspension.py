"""No build is lost if processes are suspended (SIGSTOP) for longer than every limit."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from helpers import patience
from piwheels.core.host.supervision import descendants
from piwheels.slave import app
from toy_master import NAME

#: Limit for a build and for a reply of the master, and the duration of a suspension (seconds).
LIMIT, SUSPENDED = 14, 18

SLAVE = f"""
from datetime import timedelta
from piwheels.core.host import processes
from piwheels.slave import app, lane, workshops
lane.CONT_WAIT = lane.OUTPUT_WAIT = 0.5
processes.GRACE = 2.0
app.PiWheelsSlave.main_loop.__defaults__ = (timedelta(seconds={LIMIT}),)
workshops.pip_command = lambda _: PIP
raise SystemExit(app.main())
"""


@pytest.fixture
def process(work, source, master, pip):
    """A ``piw-slave`` process with short limits."""
    command = [
        sys.executable, "-c", f"PIP = {pip!r}\n{SLAVE}",
        "-d", str(work), "-L", "toy", f"--timeout={LIMIT}s", "--slave-queue", master.addresses[0],
        "--file-queue", master.addresses[1], "--sandbox=none",  # its builds wait for a file outside
    ]  # fmt: skip
    env = {**os.environ, "PIW_ALLOW_ROOT": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.terminate()
        process.error_output = process.communicate(timeout=patience(60))[1]


def suspend(pids, seconds):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it had ended before it was suspended
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("who", ["slave", "supervisor", "slave and build"])
def test_a_suspended_process_loses_no_build(master, gate, process, who):
    master.give_build()
    master.output_with("zzz")
    gate.touch()
    tree = descendants(process.pid)
    supervisor = next(pid for pid, group in tree.items() if pid == group)
    suspend(
        {
            "slave": [process.pid],
            "supervisor": [supervisor],
            "slave and build": [process.pid, *tree],
        }[who],
        SUSPENDED,
    )
    master.say("CONT")
    built = master.built("OUTPUT", "HELLO")  # the slave may have missed a reply
    assert built.status, built.output
    master.say("SEND", NAME)
    assert len(master.fetch(built.files[0].filesize)) == built.files[0].filesize
    master.receive("SENT")


def test_a_slave_that_was_declared_dead_resumes_its_build(master, gate, process):
    master.give_build()
    master.output_with("zzz")
    gate.touch()
    peer = master.peer
    master.say("CONT")
    suspend([process.pid], SUSPENDED)
    master.receive("BUSY", "BUILT", "OUTPUT")
    assert master.peer == peer
    master.say("HELLO")
    assert master.receive("HELLO").features["resume"] == ["demo", "1.0"]
    master.say("ACK", (8, ""))
    assert master.built().status


@pytest.fixture
def _short_limit(monkeypatch):
    limit = (timedelta(seconds=5),)
    monkeypatch.setattr(app.PiWheelsSlave.main_loop, "__defaults__", limit)


@pytest.mark.usefixtures("_short_limit")
def test_a_master_that_was_suspended_resumes_the_build(master, gate, slave):
    master.give_build()
    master.output_with("zzz")
    first = master.peer
    # The master does not reply in time: the slave closes that socket.
    assert master.receive("HELLO").features["resume"] == ["demo", "1.0"]
    assert master.peer != first
    gate.touch()
    master.say("ACK", (8, ""))
    assert master.built().status
