"""A build whose supervisor or sandbox is killed: nothing is left, and the package did not fail."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import alive, patience, until
from hostile.sources import DAEMON
from piwheels.core.host.supervision import descendants
from piwheels.core.program.builds import SANDBOXES

#: It leaves a daemon that nothing marks, and waits.
BUILD = f"{DAEMON.format(name='daemon')}\nprint('zzz', flush=True)\ntime.sleep(600)".strip()


@pytest.fixture
def process(work, source, master, mode):
    """A ``piw-slave`` process with the sandbox *mode*."""
    command = [
        sys.executable, "-m", "piwheels.slave", "-d", str(work), "-L", "toy", f"--sandbox={mode}",
        "--slave-queue", master.addresses[0], "--file-queue", master.addresses[1],
    ]  # fmt: skip
    env = {**os.environ, "PIW_ALLOW_ROOT": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("mode", "bubblewrap"), [*((mode, False) for mode in SANDBOXES), ("bwrap", True)]
)
def test_a_build_that_somebody_else_kills_is_lost(master, source, process, work, bubblewrap):
    source(BUILD.replace("\n", "\n    "))
    master.give_build()
    master.output_with("zzz")
    tree = list(filter(alive, descendants(process.pid)))
    names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in tree}
    assert "sleep" in names.values()
    os.kill(next(pid for pid in tree if not bubblewrap or names[pid] == "bwrap"), signal.SIGKILL)
    master.say("CONT")
    built = master.built()
    assert (built.status, built.lost) == (False, True)
    until(lambda: not any(map(alive, tree)))
    assert list(work.iterdir()) == []
    source()
    master.say("DONE")
    master.receive("IDLE")
    master.say("BUILD", ("demo", "1.0"))
    assert master.built().status
    process.terminate()
    output = process.communicate(timeout=patience(60))[1]
    assert process.returncode == 0
    assert "by a fault of this slave: lost: The supervisor of the build was killed" in output
