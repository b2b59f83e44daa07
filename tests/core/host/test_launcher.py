"""The launcher, which starts programs as the user of builds."""

import os
import subprocess
import sys

import pytest

from helpers import patience, until

#: A farm with the user 61010, whose builds have the user 61011.
FARM = r"""
import os, pwd, signal, socket, sys
from piwheels.core.errors import Fatal
from piwheels.core.host.launcher import Launcher, fork_launcher

owner, user = (pwd.struct_passwd(("", "", n, n, "", "/", "")) for n in (61_010, 61_011))
number = int(fork_launcher(owner, user)["PIW_LAUNCHER"])
os.setgroups([])
os.setresgid(61_010, 61_010, 61_010)
os.setresuid(61_010, 61_010, 61_010)
launcher = Launcher(socket.socket(fileno=number), user)

def start(script):
    "Start a script; return it and the first line that it says."
    here, there = os.pipe()
    started = launcher.start(["/bin/sh", "-c", script], {"NAME": "value"}, there, [1])
    os.close(there)
    return started, os.read(here, 1000).decode().strip()

"""
WAITS = "trap 'echo ended >&1; exit' TERM; echo $PPID; while :; do sleep 0.05; done"


def run(script):
    if os.geteuid() != 0:
        pytest.skip("only root starts a launcher")
    command = [sys.executable, "-c", f"{FARM}WAITS = {WAITS!r}\n{script}"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=patience(60)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_program_has_the_other_user_alone_and_its_status_returns():
    assert run("""
program, said = start('echo $NAME $(id -ru) $(id -u) $(id -G) $(ls /proc/self/fd | wc -l); exit 7')
print(said, program.wait(), program.poll())
""") == ["value", "61011", "61011", "61011", "5", "7", "7"]


def test_a_program_can_be_ended_and_cannot_end_the_launcher():
    assert run("""
program, _ = start(WAITS)
assert program.poll() is None
program.terminate()
print(program.wait())
program, _ = start("trap '' TERM; echo; while :; do sleep 0.05; done")
program.terminate()
program.kill()
print(program.wait())
program, _ = start("kill -9 $PPID; echo; exit 3")
print(program.wait())
""") == ["0", "-9", "3"]


def test_a_program_ends_with_its_launcher_and_with_the_farm(short_dir):
    said = short_dir / "said"
    said.touch()
    said.chmod(0o666)
    script = WAITS.replace("echo ended >&1", f"echo ended >> {said}")
    out = run(f"""
script = {script!r}
program, parent = start(script)
os.kill(int(parent), signal.SIGKILL)
print(program.wait())
start(script)
""")
    assert out == ["-9"]
    until(lambda: said.read_text() == "ended\n" * 2)


def test_files_are_written_for_the_other_user_alone(short_dir):
    home = short_dir / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    said = run(f"""
launcher.files["{home}/key"] = "secret"
program, said = start("echo $(stat -c '%u %a' {home}/key; cat {home}/key)")
print(said, program.wait())
try:
    open("{home}/key")
except PermissionError:
    print("closed")
""")
    assert said == ["61011", "600", "secret", "0", "closed"]


def test_a_launcher_that_was_killed_is_named():
    words = run("""
start("true")
os.kill(int(open("/proc/self/task/%d/children" % os.getpid()).read()), signal.SIGKILL)
for _ in range(1000):
    try:
        start("true")
    except Fatal as error:
        print(error)
        break
""")
    assert " ".join(words) == "the process that starts the slaves was killed: start again"
