"""Floods on a whole master: it lives, it stays small, and honest slaves are served.

``./go bench floods`` runs all floods, for longer.
"""

import tempfile
import threading
import time
from pathlib import Path

import pytest

from helpers import free_port, patience
from hostile.floods import FLOODS, TYPES, Target
from peers import Slave
from programs import running_master

SECONDS = 0.8
#: In MB, and in seconds on an idle machine.
MOST_MEMORY, LONGEST_ANSWER = 300, 1.0
QUICK = [each for each in FLOODS if each.without and "byte a second" not in each.name]


@pytest.fixture(scope="module")
def flooded(module_dsn):
    with tempfile.TemporaryDirectory(prefix="piw-floods-") as name:
        folder = Path(name)
        ports = {each: f"tcp://127.0.0.1:{free_port()}" for each in ("slave", "file")}
        options = [f"--{each}-queue={address}" for each, address in ports.items()]
        with running_master(folder, module_dsn, *options) as process:
            process.addresses = {each: f"ipc://{name}/{each}" for each in TYPES} | ports
            yield process


@pytest.mark.parametrize("flood", QUICK, ids=lambda each: each.name)
def test_a_flood_neither_ends_nor_fills_a_master_nor_keeps_slaves_waiting(flooded, flood):
    address = flooded.addresses["slave"].removeprefix("tcp://")

    class Farm:
        slave_queue = f"tcp://127.0.0.9:0;{address}"

    attack = threading.Thread(target=flood.run, args=(Target(flooded.addresses, SECONDS),))
    with Slave(Farm) as honest:
        honest.hello()
        attack.start()
        slowest = 0.0
        while attack.is_alive():
            began = time.monotonic()
            honest.stats("IDLE")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.02)
        honest.stats("IDLE")
    assert flooded.poll() is None
    assert memory_of(flooded.pid) < MOST_MEMORY
    assert slowest < patience(LONGEST_ANSWER)


def memory_of(pid):
    """Return the greatest memory that a process has had, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000
