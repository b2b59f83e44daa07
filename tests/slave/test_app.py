"""The slave against a master that the test controls: messages, lost connections, hostile input."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import cbor2
import pytest
import zmq

from clocks import STEPS
from helpers import free_port, patience
from piwheels.core.codec import NoData
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.errors import Fatal
from piwheels.core.host.supervision import descendants
from piwheels.core.protocols import LEVEL_1_ID, slave_driver
from piwheels.core.recipes import Recipe
from piwheels.core.states import Fetch, Trial
from piwheels.slave import app, lane, readiness
from piwheels.slave.app import PiWheelsSlave, SlaveConfig
from piwheels.slave.builder import Builder
from piwheels.slave.lane import MasterTimeout, Pauses
from piwheels.slave.limits import most_memory
from piwheels.slave.selfcheck import Findings
from toy_master import NAME


@pytest.mark.parametrize("pip", [None])
def test_a_slave_builds_and_sends_a_wheel_between_hello_and_die(master, slave, source, pip):
    info = master.welcome()
    assert (info.label, info.native_abi) == ("toy", slave.interpreter.abi)
    more = {"identity": slave.identity, "lacks": [], "memory": most_memory()}
    more["recipes"] = [name for name in Recipe._fields if name != "apt"]
    assert info.features == {"level": 1, "resume": None, "output": True, **more}
    assert len(slave.identity) == 32
    assert master.receive("IDLE").disk_size > 0
    master.say("SLEEP", data=False)
    master.receive("IDLE")
    master.say("BUILD", ("demo", "1.0"))
    built = master.built()
    assert built.status, built.output
    (state,) = built.files
    assert state.filename == NAME
    master.say("SEND", NAME)
    content = master.fetch(state.filesize)
    assert hashlib.sha256(content).hexdigest() == state.filehash
    master.receive("SENT")
    master.say("DONE")
    master.receive("IDLE")
    assert list(slave.dir.iterdir()) == []
    master.say("DIE")
    master.receive("BYE")
    slave.thread.join(patience(30))
    assert not slave.thread.is_alive()


def test_done_in_mid_build_makes_the_slave_abandon_the_build(master, slave, source):
    source("print('zzz', flush=True); time.sleep(60)")
    master.give_build()
    master.receive("BUSY")
    assert list(slave.dir.iterdir())
    master.say("DONE")
    master.receive("IDLE")
    assert list(slave.dir.iterdir()) == []
    assert slave.builder is None


def test_a_slave_resumes_its_build_after_the_master_restarts(master, slave, gate):
    master.give_build()
    master.receive("BUSY", "OUTPUT")
    master.vanish()
    time.sleep(1)
    master.back()
    info = master.receive("HELLO")
    assert info.features["resume"] == ["demo", "1.0"]
    gate.touch()
    master.say("ACK", (8, ""))
    assert master.built().status
    assert slave.slave_id == 8
    master.say("DONE")
    master.receive("IDLE")


@pytest.mark.parametrize("moment", ["pause", "transfer", "request"])
def test_a_slave_notices_a_lost_connection_in_every_state(
    master, slave, source, moment, monkeypatch
):
    slave.worker.lane._pause = 60.0
    master.welcome()
    master.receive("IDLE")
    if moment == "pause":
        master.say("SLEEP", data=False)
    elif moment == "transfer":
        master.say("BUILD", ("demo", "1.0"))
        assert master.built().status
        master.say("SEND", NAME)
        assert master.files.poll(patience(30))
    time.sleep(0.3)
    master.vanish()
    master.back()
    info = master.receive("HELLO")
    assert info.features["resume"] == (["demo", "1.0"] if moment == "transfer" else None)
    master.say("ACK", (8, ""))
    # A finished build is reported at once: it counts even if another slave has the version.
    master.receive("BUILT" if moment == "transfer" else "IDLE")


def test_stop_ends_a_slave_immediately_in_mid_transfer(master, slave, source):
    master.give_build()
    assert master.built().status
    master.say("SEND", NAME)
    assert master.files.poll(patience(30))
    slave.stop()
    slave.thread.join(patience(30))
    assert not slave.thread.is_alive()


def test_a_slave_without_disk_space_requests_no_build(master, slave, monkeypatch):
    monkeypatch.setattr(readiness, "UNFIT_FIRST", 0.1)
    monkeypatch.setattr(readiness, "UNFIT_MAX", 0.1)
    reasons = ["no room"]
    monkeypatch.setattr(readiness, "why_unusable", lambda _: reasons[0] if reasons else "")
    master.welcome()
    assert not master.queue.poll(0.5)
    reasons.clear()
    master.receive("IDLE")


def test_a_slave_checks_itself_after_a_failure_of_its_own(
    master, slave, source, monkeypatch, caplog
):
    monkeypatch.setattr(readiness, "UNFIT_FIRST", 0.1)
    monkeypatch.setattr(readiness, "UNFIT_MAX", 0.1)
    faults = [["no ssl"], ["no ssl"], []]
    lacks = ["no compiler"]
    monkeypatch.setattr(readiness, "check", lambda *_: Findings(faults.pop(0), lacks))
    monkeypatch.setattr(app, "diagnose", lambda _, ending: Diagnosis("slave-broken", ending))
    source("raise SystemExit('the ssl module in Python is not available')")
    master.give_build()
    built = master.built()
    assert (built.status, built.ending) == (False, "exit 1")
    assert "failed to build demo 1.0, by a fault of this slave: slave broken: Repair" in caplog.text
    assert len(faults) == 3
    master.say("DONE")
    master.receive("IDLE")
    assert faults == []
    assert caplog.text.count("no ssl; asking for no work until then") == 1
    assert "some builds will fail: no compiler" in caplog.text
    master.say("HELLO")
    assert master.receive("HELLO").features["lacks"] == lacks


def test_a_build_has_the_recipe_of_its_order(master, slave, caplog):
    caplog.set_level("INFO")
    master.welcome()
    master.receive("IDLE")
    _, abi, platform = slave.workshops[0].offer
    recipe = Recipe(apt=("libfoo-dev",), timeout=timedelta(hours=9))
    master.say("BUILD", ("demo", "1.0", abi, platform, recipe))
    built = master.built()
    assert (built.status, built.ending) == (False, "request")
    assert built.output.startswith("piwheels: recipe: Debian packages: libfoo-dev\n")
    assert "cannot carry out the recipe: apt: " in built.output
    assert f"building demo 1.0 for {abi} with a recipe (apt, timeout)" in caplog.text


@pytest.mark.parametrize("level", [0, 1])
def test_only_a_slave_of_level_1_says_what_came_of_its_build(master, slave, level, monkeypatch):
    found = (Fetch("https://files.example/x.zip", 9, "ab" * 32),)
    monkeypatch.setattr(Builder, "fetches", found)
    master.give_build()
    built = master.built()
    assert built.fetches == (found if level else ())
    trials = [Trial(state.filename, True, True) for state in built.files]
    assert list(built.trials) == (trials if level else [])


@pytest.mark.parametrize("level", [0])
def test_at_level_0_die_in_reply_to_hello_is_a_refusal(master, slave, caplog):
    slave.worker.lane.refusals = Pauses(0.1, 0.4)
    for _ in range(3):
        master.receive("HELLO")
        master.say("DIE")
    master.welcome()
    master.receive("IDLE")
    assert caplog.text.count("refused this slave") == 3
    master.say("DIE")
    master.receive("BYE")
    slave.thread.join(patience(30))
    assert "the master has ended this slave" in caplog.text


@pytest.mark.parametrize("level", [0])
def test_at_level_0_die_after_a_long_silence_does_not_end_the_slave(master, slave):
    assert not master.welcome_id().startswith(LEVEL_1_ID)
    master.receive("IDLE")
    # This machine was suspended: the master declared the slave dead, but the connection is open.
    slave.connection.last_reply -= 3600
    master.say("DIE")
    master.welcome()
    master.receive("IDLE")


def test_an_unknown_slave_sends_hello_again_and_keeps_its_build(master, slave, gate):
    first = master.welcome_id()
    assert first.startswith(LEVEL_1_ID)
    assert len(first) == len(LEVEL_1_ID) + 16
    master.receive("IDLE")
    master.say("BUILD", ("demo", "1.0"))
    master.output_with("zzz")
    build = slave.builder
    master.say("HELLO")
    info = master.receive("HELLO")
    assert info.features["resume"] == ["demo", "1.0"]
    assert (master.peer, slave.builder) == (first, build)
    gate.touch()
    master.say("ACK", (9, ""))
    assert master.built().status
    master.say("HELLO")  # also after the build has ended
    assert master.receive("HELLO").features["resume"] == ["demo", "1.0"]
    master.say("ACK", (10, ""))
    assert master.built().status
    master.say("DONE")
    master.receive("IDLE")
    master.say("HELLO")
    assert master.receive("HELLO").features["resume"] is None
    master.say("ACK", (11, ""))
    master.receive("IDLE")


def test_a_slave_pauses_if_the_master_requests_hello_repeatedly(master, slave, caplog):
    slave.worker.lane.refusals = Pauses(0.1, 0.4)
    master.welcome()
    for _ in range(2):
        master.receive("IDLE")
        master.say("HELLO")
        master.welcome()  # the second time on a new socket, after a pause
    master.receive("IDLE")
    assert caplog.text.count("requests HELLO again and again") == 1


def test_a_refused_slave_keeps_its_build_and_tries_again(master, slave, gate, caplog):
    pauses = Pauses(0.1, 0.4)
    slave.worker.lane.refusals = pauses
    first = master.welcome_id()
    master.receive("IDLE")
    master.say("BUILD", ("demo", "1.0"))
    master.output_with("zzz")
    build = slave.builder
    master.say("REFUSED", "there are 10,000 slaves already")
    for _ in range(3):  # in reply to any request
        info = master.receive("HELLO")
        assert info.features["resume"] == ["demo", "1.0"]
        assert master.peer != first
        master.say("REFUSED", "there are 10,000 slaves already")
    assert master.receive("HELLO").features["resume"] == ["demo", "1.0"]
    assert pauses._next == 0.4
    assert caplog.text.count("refused this slave: there are 10,000 slaves already") == 4
    master.say("HELLO")  # could start an endless loop
    master.welcome()
    master.receive("BUSY")
    assert pauses._next == 0.4  # ACK alone does not reset the pause
    gate.touch()
    master.say("CONT")
    assert master.built().status
    assert (pauses._next, slave.builder) == (0.1, build)
    master.say("DONE")
    master.receive("IDLE")


def test_die_from_an_operator_ends_the_slave_after_any_silence(master, slave, caplog):
    master.welcome()
    master.receive("IDLE")
    slave.connection.last_reply -= 3600
    master.say("DIE")
    master.receive("BYE")
    slave.thread.join(patience(30))
    assert "an operator has ended this slave" in caplog.text


@pytest.mark.parametrize("step", STEPS)
def test_a_clock_step_ends_neither_build_nor_transfer(master, slave, gate, step):
    master.give_build()
    master.output_with("zzz")
    slave.clock.step(step)
    gate.touch()
    master.say("CONT")
    built = master.built()
    assert built.status, built.output
    assert timedelta(0) < built.duration < timedelta(minutes=5)
    master.say("SEND", NAME)
    slave.clock.step(-step)
    content = master.fetch(built.files[0].filesize)
    assert hashlib.sha256(content).hexdigest() == built.files[0].filehash
    master.receive("SENT")
    slave.clock.step(step)
    master.say("DONE")
    stats = master.receive("IDLE")
    assert abs(stats.timestamp - slave.clock.now()) < timedelta(minutes=5)


def test_a_slave_sends_the_log_while_it_grows(master, slave, source, monkeypatch):
    monkeypatch.setattr(lane, "CONT_WAIT", 1.0)
    monkeypatch.setattr(lane, "OUTPUT_WAIT", 0.2)
    source("for n in range(30): print('line', n, '\u20ac', flush=True); time.sleep(0.1)")
    master.give_build()
    sent, heard, moments = "", [], []
    while "BUILT" not in heard:
        data = master.receive("OUTPUT", "BUSY", "BUILT")
        heard.append(master.received)
        if master.received == "OUTPUT":
            assert data.offset == len(sent)
            sent += data.text
            moments.append(time.monotonic())
        master.say("DONE" if master.received == "BUILT" else "CONT")
    assert data.status, data.output
    assert data.output.startswith(sent)
    assert "line 20 \u20ac\n" in sent
    assert heard.count("BUSY") >= 2
    # The limit holds on average: one message may arrive late, and the next right after it.
    assert len(moments) <= (moments[-1] - moments[0]) / 0.2 + 2
    master.receive("IDLE")


@pytest.mark.parametrize("reply", ["DONE", "DIE"])
def test_a_slave_obeys_the_reply_to_output(master, slave, source, monkeypatch, reply):
    monkeypatch.setattr(lane, "CONT_WAIT", 3.0)
    monkeypatch.setattr(lane, "OUTPUT_WAIT", 0.1)
    source("print('zzz', flush=True); time.sleep(60)")
    master.give_build()
    master.output_with("zzz")
    master.say(reply)
    master.receive("IDLE" if reply == "DONE" else "BYE")


def test_a_new_master_receives_the_log_from_its_beginning(master, slave, source, monkeypatch):
    monkeypatch.setattr(lane, "CONT_WAIT", 1.0)
    monkeypatch.setattr(lane, "OUTPUT_WAIT", 0.1)
    source("print('zzz', flush=True); time.sleep(60)")
    master.give_build()
    master.output_with("zzz")
    master.vanish()
    master.back()
    master.welcome()
    master.receive("BUSY")
    master.say("CONT")
    data = master.output_with("zzz")
    assert data.offset == 0


def test_a_slave_of_level_0_sends_no_output(master, work, source, pip, monkeypatch):
    monkeypatch.setattr(lane, "CONT_WAIT", 0.5)
    monkeypatch.setattr(lane, "OUTPUT_WAIT", 0.1)
    source("print('zzz', flush=True); time.sleep(1.5)")
    queues = dict(zip(("slave_queue", "file_queue"), master.addresses, strict=True))
    old = PiWheelsSlave(SlaveConfig(dir=work, level=0, **queues))
    old.workshops[0].pip = pip
    thread = threading.Thread(target=old.run)
    thread.start()
    try:
        assert master.welcome().features is None
        master.receive("IDLE")
        master.say("BUILD", ("demo", "1.0"))
        assert "zzz" in master.built("BUSY").output  # no OUTPUT before
        master.say("DONE")
    finally:
        old.stop()
        thread.join(patience(60))


def test_at_level_0_a_hello_without_a_reply_is_repeated(master, work):
    queues = dict(zip(("slave_queue", "file_queue"), master.addresses, strict=True))
    old = PiWheelsSlave(SlaveConfig(dir=work, level=0, **queues))
    with old.ctx.socket(zmq.DEALER, reversed(slave_driver)) as queue, pytest.raises(MasterTimeout):
        old.main_loop(queue, timedelta(seconds=0.5))
    master.receive("HELLO")


def test_hello_has_ten_fields_at_level_0(master, work, monkeypatch):
    queues = dict(zip(("slave_queue", "file_queue"), master.addresses, strict=True))
    old = PiWheelsSlave(SlaveConfig(dir=work, level=0, **queues))
    msg, data = old._hello()
    assert (msg, len(data)) == ("HELLO", 10)


# Hostile input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        [b"", b"\xff"],
        [b"", b""],
        [b"", b"x", b"y"],
        [b"", cbor2.dumps(["ACK", [-1, "u"]])],
        [b"", cbor2.dumps(["BUILD", ["../../etc", "1.0"]])],
        [b"", cbor2.dumps(["BUILD", ["-r/etc/passwd", "1.0"]])],
        [b"", cbor2.dumps(["SEND", "../../etc/passwd"])],
        [b"", cbor2.dumps("HELLO")],
        [b"", b"\x9b" + b"\xff" * 8],
    ],
)
def test_an_invalid_reply_makes_the_slave_reconnect(master, slave, frames):
    master.receive("HELLO")
    master.raw(*frames)
    master.welcome()
    master.receive("IDLE")


def test_a_slave_survives_replies_out_of_order(master, slave, source):
    master.receive("HELLO")
    for reply, data, next_request in (
        ("CONT", NoData, "IDLE"),
        ("SEND", NAME, "SENT"),  # there is no build
        ("DONE", NoData, "IDLE"),
        ("SLEEP", True, "IDLE"),
        ("ACK", (2**40, "https://index.example/simple"), "IDLE"),
        ("ACK", (3, "--help"), "IDLE"),
        ("BUILD", ("demo", "never"), "BUILT"),  # not a valid version
        ("CONT", NoData, "BUILT"),
        ("SEND", "other-1.0-py3-none-any.whl", "SENT"),
        ("ACK", (4, ""), "BUSY"),
        ("BUILD", ("demo", "1.0"), "BUSY"),
        ("SLEEP", False, "IDLE"),
        ("DONE", NoData, "IDLE"),
    ):
        master.say(reply, data)
        master.receive(next_request, *(["BUILT"] if next_request == "BUSY" else []))
    assert slave.thread.is_alive()


def test_a_slave_reconnects_slowly_to_a_port_that_closes_each_connection(master, slave):
    master.vanish()
    count = 0
    with socket.create_server(("127.0.0.1", master.ports[0])) as server:
        server.settimeout(0.2)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                server.accept()[0].close()
            except TimeoutError:
                continue
            count += 1
    assert count <= 15
    master.back()
    master.welcome()
    master.receive("IDLE")


# Processes ----------------------------------------------------------------------------------------


def test_sigterm_in_mid_build_leaves_neither_processes_nor_files(master, work, source):
    source("print('zzz', flush=True); time.sleep(60)")
    command = [
        sys.executable, "-m", "piwheels.slave", "-d", str(work), "-L", "toy",
        "--slave-queue", master.addresses[0], "--file-queue", master.addresses[1],
    ]  # fmt: skip
    env = {**os.environ, "PIW_ALLOW_ROOT": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        master.welcome()
        master.receive("IDLE")
        master.say("BUILD", ("demo", "1.0"))
        end = time.monotonic() + patience(10)
        while not any("pip" in _command(pid) for pid in descendants(process.pid)):
            assert time.monotonic() < end
            time.sleep(0.05)
        tree = descendants(process.pid)
        assert list(work.iterdir())
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=patience(60))
        assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert "stopped by SIGTERM" in stderr
    assert master.queue.poll(patience(30))
    assert master.queue.recv_addr_msg()[1] in ("BYE", "BUSY")
    assert list(work.iterdir()) == []
    assert not any(_command(pid) for pid in tree)


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_sigterm_ends_a_slave_that_waits_for_a_master(work):
    command = [
        sys.executable, "-m", "piwheels.slave", "-d", str(work),
        "--slave-queue", f"tcp://127.0.0.1:{free_port()}",
    ]  # fmt: skip
    env = {**os.environ, "PIW_ALLOW_ROOT": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        assert "building for" in line
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=patience(60))
        assert process.returncode == 0
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("option", "status", "sentence"),
    [
        (["--level", "7"], 2, "'7' is not one of 0, 1"),
        (["--dir", "/proc/none"], 1, "cannot build in /proc/none (No such file or directory)"),
    ],
)
def test_an_unusable_option_gives_an_error_message(option, status, sentence, monkeypatch, capsys):
    monkeypatch.setenv("PIW_ALLOW_ROOT", "1")
    try:
        code = app.main(option)
    except SystemExit as exc:
        code = exc.code
    assert code == status
    assert sentence in capsys.readouterr().err


def test_options_of_the_proxy_need_the_proxy():
    for options in ({"allow_host": ["x.example"]}, {"offline_build": True}):
        with pytest.raises(Fatal, match="need the proxy: leave out --egress open"):
            PiWheelsSlave(SlaveConfig(egress="open", **options))
    slave = PiWheelsSlave(SlaveConfig(allow_host=["x.example"], offline_build=True))
    assert (slave.egress.allowed, slave.egress.offline) == ({"x.example"}, True)
    assert slave.egress.index
