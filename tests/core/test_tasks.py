"""Tasks: sockets, timers, pauses, and the three ways in which errors end."""

import logging
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import zmq

from clocks import STEPS, StepClock
from helpers import patience, until
from piwheels.core.errors import BadMessage
from piwheels.core.protocols import NoData, Protocol
from piwheels.core.tasks import (
    NonStopTask,
    PauseableTask,
    PausingTask,
    TaskControl,
    TaskQuit,
)
from piwheels.core.transport import Context

WORDS = Protocol(recv={"WORD": str, "END": type(NoData)}, send={})
CONTROL = Protocol(recv=dict.fromkeys(("PAUSE", "RESUME", "QUIT", "EXTRA"), type(NoData)), send={})


def task_of(kind):
    """Return a task of *kind* that notes words, and the beats of a quick timer."""

    class Toy(kind):
        name = "toy"
        cycle = 0.05

        def __init__(self):
            super().__init__(None, CONTROL)
            self.words, self.beats, self.extra, self.begun = [], 0, 0, 0
            self.address = f"inproc://{uuid.uuid4().hex}"
            queue = Context().socket(zmq.PULL, WORDS)
            queue.bind(self.address)
            self.register(queue, self.handle)
            self.every(timedelta(seconds=0.02), self.beat)

        def once(self):
            self.begun += 1

        def beat(self):
            self.beats += 1

        def handle(self, queue):
            msg, data = queue.recv_msg()
            if msg == "END":
                raise TaskQuit
            if data == "bug":
                raise KeyError("a bug")
            self.words.append(data)

        def handle_control(self, queue):
            try:
                super().handle_control(queue)
            except TaskControl as command:
                self.extra += (command.msg, command.data) == ("EXTRA", NoData)

    return Toy()


@contextmanager
def running(task):
    task.start()
    with Context().socket(zmq.PUSH) as push:
        push.connect(task.address)
        try:
            yield push
        finally:
            task.quit()
            task.join(patience(5))
            assert not task.is_alive()


@pytest.mark.parametrize("kind", [NonStopTask, PauseableTask, PausingTask])
def test_a_task_handles_messages_and_timers_and_quits_on_request(kind):
    task = task_of(kind)
    with running(task) as push:
        push.send_msg("WORD", "one")
        until(lambda: task.words == ["one"] and task.beats > 3)
        task.send_control("EXTRA")
        until(lambda: task.extra == 1)
        assert Path(f"/proc/self/task/{task.native_id}/comm").read_text().strip() == "toy"
    assert (task.begun, task.failure, task.name) == (1, None, "toy")


@pytest.mark.parametrize("kind", [NonStopTask, PauseableTask, PausingTask])
def test_a_paused_task_is_not_stuck_and_one_that_hangs_is(kind):
    task = task_of(kind)
    assert task.turn_began is None
    assert not task.stuck_for()
    go_on = threading.Event()
    with running(task):
        task.pause()
        until(lambda: task.turn_began is not None)
        begun = task.turn_began
        until(lambda: task.turn_began > begun + 0.3)
        task.stuck_after = 0.2
        task.resume()
        task.every(timedelta(seconds=1), lambda: go_on.wait(10))
        until(lambda: task.stuck_for() > 0.2)
        go_on.set()
        until(lambda: not task.stuck_for())


def test_a_task_can_end_itself():
    task = task_of(NonStopTask)
    with running(task) as push:
        push.send_msg("END")
        task.join(3)
        assert task.failure is None


def test_a_pauseable_task_does_nothing_while_it_is_paused(caplog):
    caplog.set_level(logging.INFO)
    task = task_of(PauseableTask)
    with running(task) as push:
        task.pause()
        task.pause()
        until(lambda: "paused" in caplog.text)
        beats = task.beats
        push.send_msg("WORD", "later")
        time.sleep(0.1)
        assert (task.words, task.beats) == ([], beats)
        task.resume()
        task.resume()
        until(lambda: task.words == ["later"] and task.beats > beats)
        task.pause()  # and it ends in the middle of a pause
    assert task.failure is None


def test_a_pausing_task_continues_and_knows_that_it_is_paused():
    task = task_of(PausingTask)
    with running(task) as push:
        task.pause()
        until(lambda: task.paused)
        push.send_msg("WORD", "now")
        until(lambda: task.words == ["now"])
        task.resume()
        until(lambda: not task.paused)


def test_no_pause_stops_a_non_stop_task():
    task = task_of(NonStopTask)
    with running(task) as push:
        task.pause()
        push.send_msg("WORD", "now")
        until(lambda: task.words == ["now"])
        task.resume()


def test_a_bad_message_is_counted_and_logged_once(caplog):
    task = task_of(NonStopTask)
    with running(task) as push:
        for _ in range(12):
            push.send_msg("NOISE")
        push.send_multipart([b"\xff", b""])
        push.send_msg("WORD", "still here")
        until(lambda: task.words == ["still here"])
    assert task.failure is None
    assert task.bad_messages.seen == 13
    said = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert ["NOISE" in each for each in said] == [True, False]  # the others are summarised


def test_a_bad_message_in_a_timer_does_not_end_the_task():
    task = task_of(NonStopTask)

    def beat():
        task.beats += 1
        raise BadMessage("nothing to send")

    task.every(timedelta(seconds=0.02), beat)
    with running(task):
        until(lambda: task.beats > 5)
        assert task.is_alive()


def test_a_bug_ends_the_task_and_is_stored_as_its_failure(caplog):
    task = task_of(NonStopTask)
    with running(task) as push:
        push.send_msg("WORD", "bug")
        task.join(3)
        assert not task.is_alive()
    assert isinstance(task.failure, KeyError)
    assert "toy has ended by an error" in caplog.text


def test_a_timer_never_catches_up():
    task = task_of(NonStopTask)
    slow = []

    def nap():
        slow.append(time.monotonic())
        time.sleep(0.1)

    task.every(timedelta(seconds=0.01), nap)
    with running(task):
        time.sleep(0.35)
    assert 2 <= len(slow) <= 5


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_clock_moves_no_timer(step):
    task = task_of(NonStopTask)
    clock = task.clock = StepClock()
    hours = []
    task.every(timedelta(hours=1), lambda: hours.append(clock.now()))
    task.poll(0)
    clock.step(step)
    task.poll(0)
    assert (len(hours), task.stuck_for()) == (1, 0)
    clock.advance(3600)
    assert task.stuck_for() >= 3600
    task.poll(0)
    assert len(hours) == 2
    task.close()
