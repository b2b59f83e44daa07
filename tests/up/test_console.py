"""The console in piw-up's terminal: how it opens, and the state of the terminal afterwards."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from helpers import patience
from piwheels.up.console import attach_line, possible
from piwheels.up.progress import Screen

IPC = {"status": "ipc:///r/status", "control": "ipc:///r/control", "console": "ipc:///r/console"}
# A console that changes the terminal's modes and does not restore them.
STAND_IN = r"""
import os, sys, tty
tty.setraw(0)
sys.stdout.write("\x1b[?1049h" + "|".join(sys.argv[1:]) + "|ready")
sys.stdout.flush()
key = sys.stdin.read(1)
os.kill(os.getpid(), 9) if key == "9" else sys.exit(3)
"""
# The part of piw-up that opens a console and restores the terminal.
OWNER = """
import os, sys, termios, time
from piwheels.up import console
console.MODULE = "stand_in"
assert console.possible() and console.installed()
before = termios.tcgetattr(0)
ours = console.Console()
ours.open({"status": "tcp://*:1", "control": "ipc://b", "console": "ipc://c"}, ["-x"], os.environ)
assert ours.has_terminal
if sys.argv[1:]:
    while ours.has_terminal and termios.tcgetattr(0) == before:
        time.sleep(0.01)
    ours.close()
    how = "closed"
else:
    while (how := ours.ended()) is None:
        time.sleep(0.01)
assert termios.tcgetattr(0) == before and not ours.has_terminal
print("it ended:", how)
"""


class Terminal:
    """A pseudo-terminal in which *command* runs."""

    def __init__(self, command, env):
        self.ours, theirs = pty.openpty()
        self.output = ""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        self.process = subprocess.Popen(["setsid", "-c", *command], env=env, **streams)
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def until(self, words, limit=30.0):
        deadline = time.monotonic() + patience(limit)
        while words not in self.output:
            assert time.monotonic() < deadline, self.output
            if select.select([self.ours], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.ours, 65536).decode(errors="replace")
                except OSError:  # no process has it open any more
                    assert words in self.output, self.output
                    return

    def hang_up(self):
        os.close(self.ours)
        self.ours = os.open(os.devnull, os.O_RDONLY)

    def type(self, keys):
        os.write(self.ours, keys.encode())


@pytest.mark.parametrize(
    ("key", "ending", "restored"),
    [("q", "it ended: 3", False), ("9", "it ended: -9", True), ("", "it ended: closed", True)],
)
def test_the_terminal_is_restored_however_the_console_ends(tmp_path, key, ending, restored):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "TERM": "xterm"}
    args = [] if key else ["close"]
    with Terminal([sys.executable, "-c", OWNER, *args], env) as terminal:
        if key:
            terminal.until("ready")
            expected = "--status-queue=tcp://127.0.0.1:1|--control-queue=ipc://b|"
            assert f"{expected}--console-queue=ipc://c|-x|" in terminal.output
            terminal.type(key)
        terminal.until(ending)
        assert ("\x1b[?1049l" in terminal.output) == restored
        assert terminal.process.wait(patience(10)) == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_console_restores_the_terminal_before_it_is_suspended_or_ended(short_dir, signum):
    command = [sys.executable, "-m", "piwheels.console", f"--status-queue=ipc://{short_dir}/none"]
    with Terminal(command, {**os.environ, "TERM": "xterm"}) as terminal:
        terminal.until("No master answers")
        terminal.type("\x1a")
        terminal.until("\x1b[?1049l")
        os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED)
        terminal.output = ""
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until("No master answers")
        terminal.output = ""
        terminal.process.send_signal(signum)
        terminal.until("\x1b[?1049l")
        assert terminal.process.wait(patience(10)) == 128 + signum


def test_no_console_is_possible_without_a_terminal():
    assert not possible()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "piw-console --status-queue ipc:///r/status"),
        (
            {"status": "ipc:///my farm/status"},
            "piw-console --status-queue 'ipc:///my farm/status'"
            " --control-queue ipc:///r/control --console-queue ipc:///r/console",
        ),
        (
            {"status": "tcp://*:1", "control": "tcp://[::]:2"},
            "piw-console --status-queue tcp://127.0.0.1:1 --control-queue 'tcp://[::1]:2'"
            " --console-queue ipc:///r/console",
        ),
    ],
)
def test_the_attach_line_has_the_addresses_of_the_sockets(given, line, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert attach_line(IPC | given) == line


def test_the_attach_line_names_a_program_that_the_shell_finds(tmp_path, monkeypatch):
    program = tmp_path / "piw-console"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert attach_line(IPC).startswith(f"{program} --status-queue ")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert attach_line(IPC).startswith("piw-console --status-queue ")


def test_messages_during_the_console_are_repeated_afterwards(tmp_path):
    stream = io.StringIO()
    stream.isatty = lambda: True
    screen = Screen(stream, {"TERM": "xterm"})
    screen.show(["one"])
    screen.divert(tmp_path / "up.log")
    before = stream.getvalue()
    screen.show(["never seen"])
    for number in range(100):
        screen.say(f"line {number}", "\x1b[31m")
    assert stream.getvalue() == before
    log = (tmp_path / "up.log").read_text()
    assert log.count("line") == 100
    assert "\x1b" not in log
    screen.return_to_terminal()
    again = stream.getvalue().removeprefix(before)
    assert "line 99\n" in again
    assert "line 1\n" not in again
    assert str(tmp_path / "up.log") in again
    screen.say("live")
    assert stream.getvalue().endswith("\nlive\n")
    screen.return_to_terminal()
    assert stream.getvalue().endswith("\nlive\n")


def test_the_farm_continues_after_its_console_is_closed(short_dir):
    keep = {n: v for n, v in os.environ.items() if not n.startswith(("PIW_", "PIP_"))}
    home = short_dir / "terminal"
    env = {**keep, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "HOME": str(short_dir)}
    env |= {"TERM": "xterm-256color", "XDG_CONFIG_HOME": str(short_dir)}
    if root := os.environ.get("PIW_ALLOW_ROOT"):
        env["PIW_ALLOW_ROOT"] = root
    up = [sys.executable, "-P", "-m", "piwheels.up", f"--dir={home}", "--port=0", "toy==1.0"]
    with Terminal(up, env) as terminal:
        terminal.until("\x1b[?1049h")  # the alternate screen
        terminal.until("LIVE")
        terminal.type("q")
        terminal.until("attaches again")
        screens, _, lines = terminal.output.rpartition("\x1b[?1049l")
        assert "registered toy 1.0" not in screens
        assert "registered toy 1.0" in lines
        assert f"piw-console --status-queue ipc://{home}/run/status " in lines
        terminal.until("until this is stopped (Ctrl+C)")
        assert terminal.process.poll() is None
        terminal.hang_up()
        assert terminal.process.wait(patience(30)) == 0
    assert "master: INFO: stopping" in (home / "log/master.log").read_text()
