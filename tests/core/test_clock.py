"""The clock of decisions: it does not step, and it stands still while the process is suspended."""

import os
import signal
import subprocess
import sys
import time

from piwheels.core import clock
from piwheels.core.clock import Clock, file_age

WAIT = """
import sys, time, zmq
from piwheels.core.clock import SYSTEM
from piwheels.core.transport import Context
clock, real = SYSTEM.monotonic(), time.monotonic()
with Context().socket(zmq.PULL) as queue:
    queue.bind("inproc://nobody")
    print("ready", flush=True)
    queue.poll(7)
print(SYSTEM.monotonic() - clock, time.monotonic() - real)
"""


def test_a_short_gap_counts_and_a_long_one_does_not(monkeypatch):
    seconds = iter([100.0, 100.0, 104.0, 1000.0, 1001.0])
    monkeypatch.setattr(clock.time, "monotonic", lambda: next(seconds))
    own = Clock()
    assert [own.monotonic() for _ in range(4)] == [100.0, 104.0, 109.0, 110.0]


def test_a_wait_does_not_count_the_time_in_which_the_process_was_stopped():
    process = subprocess.Popen([sys.executable, "-c", WAIT], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(8)  # longer than the wait
    os.kill(process.pid, signal.SIGCONT)
    waited, real = map(float, process.communicate(timeout=60)[0].split())
    assert waited >= 7
    assert real >= waited + 2


def test_a_file_from_the_future_has_an_age():
    assert 0 <= file_age(time.time()) < 60
    assert 3500 < file_age(time.time() - 3600) < 3700
    assert 3500 < file_age(time.time() + 3600) < 3700
