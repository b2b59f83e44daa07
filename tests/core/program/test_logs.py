"""The log file stays writable whatever happens to it; SIGHUP ends no daemon."""

import gzip
import logging
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import patience, until
from piwheels.core.program.logs import LogFile

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def log(tmp_path):
    """A logger that writes to ``dir/a.log``, and the records of its other handler."""
    path = tmp_path / "dir/a.log"
    path.parent.mkdir()
    root, records = logging.getLogger(), []
    own, other = LogFile(path), logging.Handler()
    other.emit = records.append
    before, root.handlers = root.handlers, [own, other]
    yield logging.getLogger("x"), path, records
    root.handlers = before
    own.close()


def test_a_log_file_that_was_moved_or_removed_is_opened_again(log):
    logger, path, _ = log
    logger.warning("one")
    path.rename(path.with_name("a.log.1"))
    logger.warning("two")
    assert path.with_name("a.log.1").read_text() == "one\n"
    assert path.read_text() == "two\n"
    path.unlink()
    logger.warning("three \udcff")
    assert path.read_text() == "three \\udcff\n"


def test_a_log_file_that_cannot_be_written_is_reported_once_and_tried_again(log):
    logger, path, records = log
    path.unlink()
    path.parent.rename(path.parent.with_name("away"))
    for number in range(3):
        logger.warning("lost %d", number)
    said = [record.getMessage() for record in records]
    assert [text for text in said if not text.startswith("lost")] == [
        f"cannot write {path} ([Errno 2] No such file or directory: {str(path)!r}): make it"
        " writable; until then, lines are missing there"
    ]
    path.parent.mkdir()
    logger.warning("back")
    assert path.read_text() == "back\n"


def test_a_full_disk_is_reported_once(log):
    logger, path, records = log
    path.unlink()
    path.symlink_to("/dev/full")
    for _ in range(3):
        logger.warning("lost")
    said = [record.getMessage() for record in records]
    assert len(said) == 4
    assert "No space left on device" in said[0]
    path.unlink()
    logger.warning("back")
    logger.warning("again")
    assert path.read_text().endswith("again\n")


@pytest.mark.skipif(not shutil.which("logrotate"), reason="logrotate is not installed")
def test_the_logrotate_example_loses_no_line(log, tmp_path):
    logger, path, _ = log
    config = tmp_path / "logrotate.conf"
    example = (ROOT / "docs/deploy/logrotate.conf").read_text()
    config.write_text(example.replace("/var/log/piwheels", str(path.parent)))
    config.chmod(0o644)
    rotate = ["logrotate", f"--state={tmp_path}/state", "--force", config]
    for number in range(3):
        logger.warning("line %d", number)
        subprocess.run(rotate, check=True, capture_output=True, timeout=patience(30))
    logger.warning("line 3")
    found = {each.name: each for each in path.parent.iterdir()}
    assert sorted(found) == ["a.log", "a.log.1", "a.log.2.gz", "a.log.3.gz"]
    assert found["a.log"].read_text() == "line 3\n"
    assert found["a.log.1"].read_text() == "line 2\n"
    assert gzip.decompress(found["a.log.3.gz"].read_bytes()) == b"line 0\n"


DAEMONS = {
    "serve": ["--output-path=.", "--port=0"],
    "slave": ["--slave-queue=ipc://nobody"],
    "logger": ["--log-queue=ipc://nobody"],
}


@pytest.mark.parametrize("name", DAEMONS)
def test_sighup_has_a_daemon_open_its_log_file_again(name, tmp_path):
    log = tmp_path / "a.log"
    command = [sys.executable, "-P", "-m", f"piwheels.{name}", f"--log-file={log}", *DAEMONS[name]]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PIW_ALLOW_ROOT": "1"},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            # The handler of SIGHUP is a caught signal: 1 in the mask of /proc/PID/status.
            until(lambda: catches(process.pid, signal.SIGTERM, signal.SIGHUP), 30)
            log.rename(tmp_path / "a.log.1")
            process.send_signal(signal.SIGHUP)
            until(
                lambda: log.exists() and "SIGHUP: the log files are open again" in log.read_text()
            )
            process.terminate()
            assert process.wait(patience(20)) in {0, 1}  # piw-logger has not read all
        finally:
            process.kill()


def catches(pid, *numbers):
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 (as everywhere in /proc)
        mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    return all(mask >> number - 1 & 1 for number in numbers)


# A daemon that reports what it does.
DAEMON = """
import logging, signal, sys, time, traceback
from piwheels.core.program.logs import reopen_on_hangup
sys.excepthook = lambda *error: traceback.print_exception(*error, file=open(sys.argv[1], "a"))
def stop(number, frame):
    open(sys.argv[1], "a").write("stopped")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
logging.basicConfig(level="INFO")
reopen_on_hangup()
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


def read_until(terminal, words):
    output = b""
    while words not in output:
        assert select.select([terminal], [], [], patience(20))[0], output
        output += os.read(terminal, 1000)


def test_a_closed_terminal_ends_a_daemon_but_sighup_does_not(tmp_path):
    ours, theirs = pty.openpty()
    result = tmp_path / "result"
    command = ["setsid", "-c", sys.executable, "-c", DAEMON, str(result)]
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        try:
            os.close(theirs)
            read_until(ours, b"ready")
            process.send_signal(signal.SIGHUP)
            read_until(ours, b"SIGHUP: the log files are open again")
            os.close(ours)
            status = process.wait(patience(10))
        finally:
            process.kill()
    assert (result.read_text(), status) == ("stopped", 0)


def test_nohup_keeps_its_meaning(tmp_path):
    with subprocess.Popen(
        ["nohup", sys.executable, "-c", DAEMON, str(tmp_path / "result")], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout.read(5) == b"ready"
            assert not catches(process.pid, signal.SIGHUP)
        finally:
            process.kill()
