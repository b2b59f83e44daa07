from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from helpers import alive, patience, until
from piwheels.core.host import processes, supervision
from piwheels.core.host.processes import Ending, Supervised, build_environment

if TYPE_CHECKING:
    from pathlib import Path

PATH = {"PATH": os.environ["PATH"]}

# A daemon by the book: it leaves session, group and parent, and keeps its output open.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
print("started", flush=True)
"""


def everything(process: Supervised) -> bytes:
    return b"".join(iter(process.read, b""))


def run(tmp_path: Path, *command: str, timeout: float = 20, **more: object) -> tuple[bytes, Ending]:
    with Supervised(
        command,
        env=PATH,
        cwd=tmp_path,
        timeout=timeout,
        **more,  # type: ignore[arg-type]
    ) as process:
        return everything(process), process.wait()


def test_output_in_order_and_status(tmp_path: Path) -> None:
    output, ending = run(tmp_path, "sh", "-c", "echo a; echo b >&2; echo c; cat; exit 3")
    assert output == b"a\nb\nc\n"
    assert ending == Ending("exit", "3")
    assert not ending.success
    assert run(tmp_path, "true")[1].success


def test_other_endings(tmp_path: Path) -> None:
    assert run(tmp_path, "sh", "-c", "kill -11 $$")[1] == Ending("signal", "11")
    output, ending = run(tmp_path, "/does/not/exist")
    assert b"cannot start" in output
    assert ending == Ending("exit", "127")
    assert run(tmp_path, "sleep", "60", reserve=2**62)[1] == Ending("full")


def test_limits_of_all_processes_together(tmp_path: Path) -> None:
    python = sys.executable
    many = ("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait")
    assert run(tmp_path, *many, totals={"processes": 5})[1] == Ending("processes")
    held = (python, "-c", "import time; x = bytearray(1) * 10**8; time.sleep(60)")
    assert run(tmp_path, *held, totals={"memory": 5 * 10**7})[1] == Ending("memory")
    assert run(tmp_path, python, "-c", "while True: pass", totals={"cpu": 0})[1] == Ending("cpu")
    folder = tmp_path / "folder"
    folder.mkdir()
    written = ("sh", "-c", f"head -c 1000000 /dev/zero > {folder}/x; sleep 60")
    ending = run(tmp_path, *written, totals={"disk": 500_000}, remove=[folder])[1]
    assert ending == Ending("disk")
    generous = {"processes": 100, "memory": 10**10, "cpu": 100, "disk": 10**10}
    assert run(tmp_path, *many[:2], "sleep 0.6", totals=generous)[1].success


@pytest.mark.parametrize(
    ("total", "code"),
    [
        ("memory", "import mmap; x = mmap.mmap(-1, SIZE); x[:] = bytes(SIZE)"),
        ("memory", "import os; x = os.memfd_create('x'); os.write(x, bytes(SIZE))"),
        ("disk", "import os; x = open('x', 'wb', 0); os.unlink('x'); x.write(bytes(SIZE))"),
        (
            "disk",
            "import os; os.mkdir('d'); open('d/x', 'wb').write(bytes(SIZE)); os.chmod('d', 0)",
        ),
    ],
    ids=["shared memory", "a file in memory", "a removed file", "a closed folder"],
)
def test_what_is_hidden_counts(tmp_path: Path, total: str, code: str) -> None:
    code = code.replace("SIZE", str(10**8)) + "; import time; print(1, flush=True); time.sleep(60)"
    command = (sys.executable, "-c", code)
    hoard = run(tmp_path, *command, totals={total: 5 * 10**7}, remove=[tmp_path])
    assert hoard[1] == Ending(total)


def test_shared_memory_counts_once(tmp_path: Path) -> None:
    share = "import mmap, os; x = mmap.mmap(-1, 10**8); x[:] = bytes(10**8); os.fork(); os.fork()"
    command = (sys.executable, "-c", f"{share}; x[::4096]; import time; time.sleep(1)")
    assert run(tmp_path, *command, totals={"memory": 25 * 10**7})[1].success


def test_no_key_outlives_a_command(tmp_path: Path) -> None:
    number = supervision.KEYCTL.get(os.uname().machine, (0, 0))[sys.maxsize < 2**32]
    ask = f"import ctypes; print(ctypes.CDLL(None).syscall({number}, 0, -3, 1))"
    command = (sys.executable, "-c", ask)  # the number of the keyring of its session
    ours = subprocess.run(command, check=True, capture_output=True).stdout
    if not number or ours.startswith(b"-"):
        pytest.skip("this kernel has no keyrings, or keyctl(2) has an unknown number")
    assert len({ours, run(tmp_path, *command)[0], run(tmp_path, *command)[0]}) == 3


def test_a_fork_bomb_is_finite(tmp_path: Path) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    ending = run(tmp_path, sys.executable, "-c", bomb, totals={"processes": 30})[1]
    assert ending == Ending("processes")


def test_a_silent_command_is_stopped(tmp_path: Path) -> None:
    output, ending = run(tmp_path, "sh", "-c", "echo a; sleep 60", silence=patience(0.3))
    assert (output, ending) == (b"a\n", Ending("silent"))
    talk = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"
    assert run(tmp_path, "sh", "-c", talk, silence=patience(0.4))[1].success


def test_a_daemon_ends_with_its_command(tmp_path: Path) -> None:
    output, ending = run(tmp_path, sys.executable, "-c", DAEMON, str(tmp_path / "pid"))
    assert output == b"started\n"
    assert ending.success
    assert not alive(int((tmp_path / "pid").read_text()))


def test_timeout_kills_the_whole_tree(tmp_path: Path) -> None:
    script = f"{sys.executable} -c '{DAEMON}' {tmp_path}/pid; trap '' TERM INT; sleep 60 & wait"
    started = time.monotonic()
    output, ending = run(tmp_path, "sh", "-c", script, timeout=1.0)
    assert ending == Ending("timeout")
    assert 1.0 <= time.monotonic() - started < patience(5)
    assert output == b"started\n"
    assert not alive(int((tmp_path / "pid").read_text()))


def test_stop_from_outside_and_directories_go(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    process = Supervised(
        ["sh", "-c", "mkdir -p a/b; chmod 0 a/b; chmod 0 a; echo up; sleep 60"],
        env=PATH,
        cwd=work,
        timeout=patience(20),
        remove=[work],
    )
    assert process.read() == b"up\n"
    process.stop()
    assert everything(process) == b""
    assert process.wait() == Ending("stopped")
    assert work.exists()
    process.close()
    process.close()
    process.stop()
    assert not work.exists()


def test_limits_hold(tmp_path: Path) -> None:
    output, ending = run(
        tmp_path, "sh", "-c", "ulimit -c; head -c 100000 /dev/zero > x", limits={"FSIZE": 4096}
    )
    assert output.startswith(b"0\n")
    assert not ending.success
    assert (tmp_path / "x").stat().st_size == 4096


def test_a_group_that_forks_all_the_time_is_caught(tmp_path: Path) -> None:
    script = "import os\nprint('up', flush=True)\nwhile True:\n    if os.fork(): os._exit(0)\n"
    with Supervised(
        ["sh", "-c", f'{sys.executable} -c "{script}"; sleep 60'],
        env=PATH,
        cwd=tmp_path,
        timeout=patience(20),
    ) as process:
        assert process.read() == b"up\n"
        process.stop()
        assert process.wait() == Ending("stopped")


OWNER = """
import sys, time
from pathlib import Path
from piwheels.core.host.processes import Supervised
work = Path(sys.argv[1])
work.mkdir()
p = Supervised([sys.executable, "-c", Path(sys.argv[2]).read_text(), str(work / "pid")],
               env={}, cwd=work, timeout=60, remove=[work])
Path(sys.argv[3]).write_text(str(p._process.pid))
print(p.read().decode(), flush=True)
if sys.argv[4] == "after":
    assert p.wait().success
    print("ended", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("when", ["during", "after"])
def test_kill_9_of_the_owner_leaves_nothing(tmp_path: Path, when: str) -> None:
    work, script, pid_file = tmp_path / "work", tmp_path / "script", tmp_path / "supervisor"
    script.write_text(DAEMON + ("time.sleep(60)" if when == "during" else ""))
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(work), str(script), str(pid_file), when],
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"started\n"
        if when == "after":
            assert b"ended" in owner.stdout.readline() + owner.stdout.readline()
        daemon, supervisor = int((work / "pid").read_text()), int(pid_file.read_text())
        assert alive(daemon) is (when == "during")
        owner.kill()
    until(lambda: not alive(supervisor))
    assert not alive(daemon)
    assert not work.exists()


def test_kill_9_of_the_supervisor(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo $$; sleep 60"]
    with Supervised(command, env=PATH, cwd=tmp_path, timeout=patience(20)) as process:
        child = int(process.read())
        os.kill(process._process.pid, signal.SIGKILL)
        assert process.wait() == Ending("lost")
        until(lambda: not alive(child))


def test_kill_9_of_the_supervisor_leaves_no_daemon(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    script = DAEMON + "time.sleep(60)"
    command = [sys.executable, "-c", script, str(work / "pid")]
    env = {**PATH, "TMPDIR": str(work)}
    with Supervised(command, env=env, cwd=work, timeout=patience(20), remove=[work]) as process:
        assert process.read() == b"started\n"
        daemon = int((work / "pid").read_text())
        os.kill(process._process.pid, signal.SIGKILL)
        assert process.wait() == Ending("lost")
        until(lambda: not alive(daemon))
    assert not work.exists()


def test_the_output_of_a_lost_command_ends_although_a_daemon_writes_to_it(tmp_path: Path) -> None:
    script = DAEMON.replace("time.sleep(60)", "[print(1, flush=True) for _ in iter(int, 1)]")
    command = [sys.executable, "-c", f"{script}time.sleep(60)", str(tmp_path / "pid")]
    env = {**PATH, "TMPDIR": str(tmp_path)}
    with Supervised(command, env=env, cwd=tmp_path, timeout=60, remove=[tmp_path]) as process:
        process.read()
        until((tmp_path / "pid").exists)
        daemon = int((tmp_path / "pid").read_text())
        os.kill(process._process.pid, signal.SIGKILL)
        started = time.monotonic()
        everything(process)
        assert time.monotonic() - started < patience(20)
        assert process.wait() == Ending("lost")
        until(lambda: not alive(daemon))  # a killed process may take a moment to end


def test_deep_trees_are_removed(tmp_path: Path) -> None:
    here = tmp_path / "deep"
    here.mkdir()
    handle = os.open(here, os.O_RDONLY)
    for _ in range(1200):  # far longer than a path may be
        os.mkdir("directory", dir_fd=handle)
        below = os.open("directory", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    assert supervision.remove_tree(str(here))
    assert not here.exists()


def test_the_environment_is_scrubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIW_DSN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "PYTHONPATH", "PIP_TARGET"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    environment = build_environment(tmp_path / "home", tmp_path)
    assert "secret" not in environment.values()
    assert environment["PIP_INDEX_URL"] == "https://index.example/simple"
    assert environment["HOME"] == str(tmp_path / "home")
    assert environment["TMPDIR"] == str(tmp_path)


def test_settings_of_pip_become_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    settings = {"no-binary": "numpy", "constraint": "/srv/limits.txt", "config-file": "/srv/pip"}
    environment = build_environment(tmp_path / "home", tmp_path, settings)
    found = {name: text for name, text in environment.items() if name.startswith("PIP_")}
    assert found == {
        "PIP_NO_BINARY": "numpy",
        "PIP_CONSTRAINT": "/srv/limits.txt",
        "PIP_CONFIG_FILE": "/dev/null",
    }


SUSPENDED = """
import sys
from pathlib import Path
from piwheels.core.host import processes
processes.GRACE = 2.0
with processes.Supervised(sys.argv[2:], env={}, cwd=Path(sys.argv[1]), timeout=8) as command:
    print(command._process.pid, flush=True)
    for data in iter(command.read, b""):
        print(data.decode(), end="", flush=True)
    print(command.wait(), flush=True)
"""


@pytest.mark.parametrize("who", ["supervisor", "both"])
def test_a_suspension_longer_than_the_timeout_loses_no_command(tmp_path: Path, who: str) -> None:
    command = ["sh", "-c", "echo begin; sleep 2; echo end"]
    owner = subprocess.Popen(
        [sys.executable, "-c", SUSPENDED, str(tmp_path), *command],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    supervisor = int(owner.stdout.readline())
    assert owner.stdout.readline() == "begin\n"
    stopped = [supervisor, owner.pid] if who == "both" else [supervisor]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(11)  # longer than the time-out and the grace
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    output, _ = owner.communicate(timeout=patience(60))
    assert output == "end\nEnding(kind='exit', detail='0')\n"


def test_a_command_that_suspends_its_supervisor_gets_at_most_twice_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE", 0.5)
    started = time.monotonic()
    output, ending = run(tmp_path, "sh", "-c", "kill -STOP $PPID; sleep 60", timeout=2)
    assert (output, ending) == (b"", Ending("lost"))
    assert 4 <= time.monotonic() - started < patience(20)


def test_a_supervisor_that_a_build_suspends_is_killed_when_it_has_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE", 1.0)
    script = "echo $$; kill -STOP $PPID; sleep 60"
    with Supervised(["sh", "-c", script], env=PATH, cwd=tmp_path, timeout=patience(60)) as process:
        child = int(process.read())
        until(lambda: processes._is_suspended(process._process.pid))
        process.stop()
        assert everything(process) == b""
        assert process.wait() == Ending("lost")
        until(lambda: not alive(child))


# Two threads: one asks a program, the other one ends a command, whose daemon it adopts and kills.
TWO_THREADS = """
import sys, threading, time
from pathlib import Path
from piwheels.core.host.commands import ask
from piwheels.core.host.processes import Supervised, adopt_orphans
adopt_orphans()
answers, gate = [], Path(sys.argv[1])
wait = "import os, sys, time\\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.05)"
question = [sys.executable, "-c", f"{wait}\\nprint('answer')", str(gate)]
asking = threading.Thread(target=lambda: answers.append(ask(question, 60)))
asking.start()
for _ in range(3):
    with Supervised(["true"], env={"PATH": "/usr/bin:/bin"}, cwd=gate.parent, timeout=60) as done:
        assert done.wait().success
gate.touch()
asking.join()
print(answers[0].returncode, answers[0].stdout.strip())
"""


def test_the_end_of_a_command_kills_no_other_child(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO_THREADS, str(tmp_path / "gate")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience(60), check=True)
    assert done.stdout == "0 answer\n"
