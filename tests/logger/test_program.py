"""The program piw-logger: files, pipes, with and without a master."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager

import pytest
import zmq

from helpers import patience
from piwheels.core import codec
from piwheels.core.protocols import lumberjack

LINE = '192.0.2.1 - - [10/Oct/2026:13:55:36 +0000] "GET {} HTTP/1.1" 200 1 "-" "pip/24.0"\n'
PATHS = {
    "/simple/six/": "LOGSEARCH",
    "/simple/six/six-1.0-py3-none-any.whl": "LOGDOWNLOAD",
    "/project/six/": "LOGPROJECT",
    "/project/six/json/": "LOGJSON",
    "/": "LOGPAGE",
    "/static/site.css": "",
}
LOG = "".join(map(LINE.format, PATHS))
ENV = {**os.environ, "HOME": "/nonexistent", "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": ""}


class Master:
    """Receives entries at *address*, once it is started."""

    def __init__(self, folder):
        self.address = f"ipc://{folder}/log"
        self._socket = zmq.Context.instance().socket(zmq.PULL)
        self._socket.linger = 0

    def appear(self):
        self._socket.bind(self.address)

    def take(self, count, seconds=20):
        """Return how many of each message came, and that no more than *count* come."""
        found = Counter()
        while found.total() < count:
            assert self._socket.poll(1000 * seconds), found
            msg, data = codec.loads(self._socket.recv())
            lumberjack.received(msg, data)
            found[msg] += 1
        assert not self._socket.poll(100)
        return found

    def close(self):
        self._socket.close()


@pytest.fixture
def master():
    with tempfile.TemporaryDirectory(prefix="piw-log-") as folder:
        made = Master(folder)
        yield made
        made.close()


@contextmanager
def running(master, *args, **more):
    process = subprocess.Popen(
        [sys.executable, "-m", "piwheels.logger", "--log-queue", master.address, *map(str, args)],
        env=ENV, stdin=subprocess.PIPE, stderr=subprocess.PIPE, **more,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.stdin.close()
        process.stderr.close()
        process.wait()


@pytest.fixture
def call(master, monkeypatch, capsys):
    """Run the program in this process; return its exit status and its output."""
    from piwheels.logger import app  # noqa: PLC0415 (other tests start it)

    for name, value in ENV.items():
        monkeypatch.setenv(name, value)

    def call(*args):
        try:
            status = app.main(["--log-queue", master.address, *args])
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().err

    return call


def ended(process, seconds=30):
    """Wait for the process to end; return its exit status and its output."""
    said = process.stderr.read().decode()
    status = process.wait(seconds)
    assert "Traceback" not in said
    return status, said


def test_a_log_of_another_format_is_a_failure(master, tmp_path):
    master.appear()
    alien = tmp_path / "a.log"
    alien.write_text("nonsense\n" * 3)
    with running(master, alien) as process:
        status, said = ended(process)
    assert status == 1
    assert "no line has the format combined: choose another --format" in said


def test_files_are_read_and_summed_up(master, tmp_path):
    master.appear()
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    first.write_text(LOG + "nonsense\n" * 12 + "x" * 70_000 + "\n")
    second.write_bytes((LOG * 100)[:-20].encode() + b"\xff\x00\n" + LOG[:-1].encode())
    with running(master, first, second, "--json", stdout=subprocess.PIPE) as process:
        assert master.take(510) == dict.fromkeys(filter(None, PATHS.values()), 102)
        status, said = ended(process)
        found = json.loads(process.stdout.read())
        process.stdout.close()
    assert found == {
        "event": "finished", "lines": 625, "irrelevant": 101, "refused": 14, "sent": 510,
        "dropped": 0, "metadata": 0,
        **dict.fromkeys(("download", "search", "project", "json", "page"), 102),
    }  # fmt: skip
    assert status == 0
    assert "refused 1 lines, another format (combined): b'nonsense'" in said
    assert "refused 10 lines" in said
    assert "longer than 65,536 bytes" in said
    assert (
        "read 625 lines: 102 download, 102 search, 102 project, 102 json, 102 page; 101 irrelevant,"
        " 14 refused; 510 sent, 0 dropped"
    ) in said


@pytest.mark.parametrize("args", [[], ["-"]])
def test_a_pipe_is_read_as_it_comes(master, args):
    master.appear()
    with running(master, *args) as process:
        for _ in range(2):
            process.stdin.write(LOG.encode())
            process.stdin.flush()
            assert master.take(5).total() == 5
        process.stdin.close()
        status, said = ended(process)
    assert (status, "10 sent" in said) == (0, True)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_pending_lines_are_sent_when_the_program_ends(master, sign):
    master.appear()
    with running(master) as process:
        process.stdin.write(LOG.encode())
        process.stdin.flush()
        assert master.take(5).total() == 5
        process.stdin.write((LOG * 30).encode())
        process.stdin.flush()
        process.send_signal(sign)
        assert master.take(150).total() == 150
        status, said = ended(process)
    assert (status, "155 sent" in said) == (0, True)


def test_it_waits_for_a_master_that_comes_later(master, tmp_path):
    log = tmp_path / "a.log"
    log.write_text(LINE.format("/") * 12_000)
    with running(master, log) as process:
        assert b"the master takes nothing, waiting" in process.stderr.readline()
        master.appear()
        assert master.take(12_000).total() == 12_000
        status, said = ended(process)
    assert (status, "12,000 sent" in said) == (0, True)


def test_nothing_is_lost_when_it_ends_while_the_master_is_busy(master, tmp_path):
    master._socket.rcvhwm = 1
    master.appear()
    log = tmp_path / "a.log"
    log.write_text(LINE.format("/") * 500)
    with running(master, log) as process:
        time.sleep(1.5)  # all has left, but most of it is still between the two
        assert master.take(500, seconds=2).total() == 500
        assert ended(process)[0] == 0


def test_drop_never_waits(master, tmp_path):
    log = tmp_path / "a.log"
    log.write_text(LOG)
    with running(master, "--drop", log) as process:
        status, said = ended(process)
    assert (status, "0 sent, 5 dropped" in said) == (0, True)
    master.appear()
    with running(master, "--drop", log) as process:
        assert master.take(5).total() == 5
        status, said = ended(process)
    assert (status, "5 sent, 0 dropped" in said) == (0, True)


def test_an_absent_master_is_reported_at_the_end(master, tmp_path, monkeypatch):
    from piwheels.logger import app  # noqa: PLC0415 (here in this process)

    monkeypatch.setattr(app, "_FLUSH", 0.2)
    log = tmp_path / "a.log"
    log.write_text(LOG)
    assert app.Run(app.LoggerConfig(files=[log], log_queue=master.address)).run() == 1


def test_a_partly_read_file_is_a_failure(master, tmp_path, caplog):
    from piwheels.logger import app  # noqa: PLC0415 (as above)

    master.appear()
    log = tmp_path / "a.log"
    log.write_text(LOG)
    run = app.Run(app.LoggerConfig(files=[log], log_queue=master.address))
    run.stop()
    assert run.run() == 1
    assert "not read" in caplog.text


def test_only_one_virtual_host_counts(master, tmp_path):
    master.appear()
    log = tmp_path / "a.log"
    log.write_text("".join(f"{site}:80 {line}\n" for line in LOG.splitlines()
                           for site in ("Wheels.example", "other.example")))  # fmt: skip
    with running(master, "--format=vhost", "--site=wheels.Example", log) as process:
        assert master.take(5).total() == 5
        assert ended(process)[0] == 0


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["/nonexistent/a.log"], 1, "cannot read /nonexistent/a.log (No such file or directory)"),
        (["/"], 1, "/ is a folder"),
        (["--format=odd", "-"], 2, "--format: 'odd' is not one of combined, common, vhost, json"),
        (["--log-queue=5555"], 2, "is not an address"),
        (["--log-queue=tcp://a:1:5555"], 2, "is not an address"),
        (["--log-queue=ipc:///" + "x" * 200], 1, "give another address"),
    ],
)
def test_an_error_is_one_sentence(call, args, status, said):
    result, text = call(*args)
    assert result == status
    assert said in text.replace("\n", " ")


def test_a_file_that_cannot_be_read_is_an_error(master):
    with running(master, "/proc/self/mem") as process:
        status, said = ended(process)
    assert status == 1
    assert said.splitlines()[-1].endswith("cannot read /proc/self/mem (Input/output error)")


def test_a_long_file_shows_progress(master, tmp_path):
    master.appear()
    log = tmp_path / "a.log"
    log.write_text(LINE.format("/static/site.css") * 60_000)
    reader, terminal = pty.openpty()
    command = [sys.executable, "-m", "piwheels.logger", "--log-queue", master.address, str(log)]
    with subprocess.Popen(command, env=ENV, stderr=terminal) as process:
        os.close(terminal)
        said = b""
        try:
            while piece := os.read(reader, 4096):
                said += piece
        except OSError:  # as a terminal ends
            pass
        os.close(reader)
        assert process.wait(patience(30)) == 0
    assert b" MB, " in said
    assert b"60,000 irrelevant" in said


def test_the_users_own_farm_is_found():
    done = subprocess.run(
        [sys.executable, "-m", "piwheels.logger", "--drop"], input=LOG.encode(),
        env={**ENV, "TMPDIR": "/nonexistent"}, capture_output=True, check=False,
        timeout=patience(60),
    )  # fmt: skip
    assert done.returncode == 0
    assert b"the master at ipc://" in done.stderr


def test_help_fits_a_terminal():
    done = subprocess.run(
        [sys.executable, "-m", "piwheels.logger", "--help"], env=ENV, capture_output=True,
        text=True, check=True, timeout=patience(60),
    )  # fmt: skip
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "--drop" in done.stdout
