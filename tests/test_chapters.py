"""The commands of README.md and of the chapters for a start run in order, in a sandbox.

The sandbox has a folder for each user that a command names, and its own PATH: ``sudo`` changes to
the folder of a user (and to its name in PostgreSQL), and other programs that need root or another
host have a stand-in. Everything else is real: the server of the database, the farms, pip.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers import QuietHandler, add_source, list_files, patience, until, wheel_bytes
from piwheels.core.database.dsn import administer
from piwheels.core.host.postgres import Cluster, candidates
from piwheels.core.program.command_line import load
from piwheels.up.config import UpConfig
from test_docs import SCRIPTS

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.M)
ABI = "cp{}{}".format(*sys.version_info)
#: An address that no other farm on this machine uses.
HOST = f"127.{os.getpid() >> 16 & 127}.{os.getpid() >> 8 & 255}.{os.getpid() & 255 | 1}"
WHEEL = f"numpy-2.3.5-{ABI}-{ABI}-linux_aarch64.whl"

#: The sources in the index, with their versions.
SOURCES = (
    ("markupsafe", "3.0.2", "3.0.1"), ("six", "1.17.0"), ("iniconfig", "2.3.1"), ("wrapt", "2.0"),
)  # fmt: skip

# The command: why it does not run here.
LEFT_OUT = {
    "./go test": "these are the tests",
    "uvx --from '.[up]' piw-up --once six": "it installs all dependencies of this project",
    "pipx install '.[up]'": "likewise",
    f"uv pip install --index-url http://{HOST}:8080/simple/ markupsafe six": "uv may be missing",
}
# Parts of the commands: their places in the sandbox.
PLACES = {
    "/usr/bin/python3 -m venv /opt/": "venv /opt/",
    "/srv/farm/": "{box}/reader/.local/share/piwheels/",
    "/var/": "{box}/var/",
    "/opt/": "{box}/opt/",
    "/usr/local/bin/": "{box}/bin/",
    "/run/piwheels/": "{box}/piwheels/run/piwheels/",
    "/tmp/farm": "{box}/forwarded",
    "127.0.0.1:8080": f"{HOST}:8080",
    "tcp://*:": f"tcp://{HOST}:",
    "farm.example": HOST,
    "backup.example:": "{box}/backup-",
    "cp311": ABI,
}
# Programs in the PATH of the sandbox.
STAND_INS = {
    "sudo": 'test "$1" = -u || exec "$@"\n'
    'export PGUSER="$2" HOME={box}/"$2" XDG_RUNTIME_DIR={box}/"$2"/run\nshift 2\nexec "$@"',
    "venv": 'mkdir -p "$1/bin"\nln -s {box}/programs/* "$1/bin/"',
    "useradd": 'test "$*" = "--system piwheels"\nmkdir -p {box}/piwheels/run',
    "install": 'test "$1 $2 $3" = "-d -o piwheels"\nshift 3\nmkdir -p "$@"',
    "chown": 'test "$1 $2" = "-R piwheels:" && test -d "$3"',
    "rsync": 'for to in "$@"; do from="$last"; last="$to"; done\n'
    'mkdir -p "$to"\ncp -a "$from." "$to"',
    "ssh": 'for word in "$@"; do case "$word" in *:*) ln -s "${word#*:}" "${word%%:*}"; esac; done',
}
PIP = """
import re, runpy, sys
own = [word for word in sys.argv[1:] if word.startswith(".")]
for word in own:
    extras = re.fullmatch(r"\\.\\[([a-z,]+)\\]", word)[1].split(",")
    assert set(extras) <= set(EXTRAS), f"there is no such extra: {word}"
if not own:
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def commands(page):
    """Return the commands of the examples on a *page*."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), flags=re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    bare = (re.sub(r"(^|\s+)#\s.*", "", line).strip() for line in lines)
    return [re.sub(r"\s+", " ", line) for line in bare if line]


class Sandbox:
    """A machine with users, programs and an index, in the folder *box*."""

    def __init__(self, box, cluster, up_dsn):
        self.box, self.started, self.up = box, {}, None
        self.dsn = cluster.dsn()
        self.clone = box / "clone"
        self.index = ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(QuietHandler, directory=str(box / "index"))
        )
        threading.Thread(target=self.index.serve_forever, args=(0.05,)).start()
        for name in (
            "clone",
            "templates",
            "programs",
            "bin",
            "reader/run",
            "postgres/run",
            "var/log/nginx",
        ):
            (box / name).mkdir(parents=True)
        self._fill_index()
        (box / "var/log/nginx/access.log").touch()
        self.configure("master")  # piw-audit finds it by the master
        (self.clone / WHEEL).write_bytes(wheel_bytes("numpy", "2.3.5"))
        python = f'exec "{sys.executable}" -P'
        for name, script in SCRIPTS.items():
            module, _, function = script.partition(":")
            code = f"import sys; from {module} import {function} as main; sys.exit(main())"
            self._program("programs", name, f"{python} -c '{code}' \"$@\"")
        (box / "pip.py").write_text(f"EXTRAS = {EXTRAS}{PIP}")
        self._program("programs", "pip", f'{python} {box}/pip.py "$@"')
        for name, text in STAND_INS.items():
            self._program("bin", name, text.replace("{box}", str(box)))
        (box / "bin/pip").symlink_to(box / "programs/pip")
        up = f"PIW_HOST={HOST} PIW_DSN={shlex.quote(up_dsn)}"
        go = f'{python} {ROOT}/go --ready "$@"'
        self._program("clone", "go", f'test "$1" != up || export {up}\n{go}')
        binaries = next(folder for folder in candidates(os.environ) if (folder / "psql").exists())
        keep = {n: v for n, v in os.environ.items() if not n.startswith(("PIW_", "PIP_", "XDG_"))}
        self.env = {
            "CHAMELEON_CACHE": str(box / "templates"),
            **keep,
            "PATH": f"{box}/bin:{binaries}:{os.defpath}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(box / "reader"),
            "XDG_RUNTIME_DIR": str(box / "reader/run"),
            "PGHOST": str(cluster.home),
            "PIP_INDEX_URL": f"http://127.0.0.1:{self.index.server_port}/simple/",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_TARGET": str(box / "installed"),
            "PIP_NO_DEPS": "1",  # the sources of the tests need others than the real ones
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIW_YES": "1",  # a reader answers y
            **{name: os.environ[name] for name in ["PIW_ALLOW_ROOT"] if name in os.environ},
        }

    def _fill_index(self):
        index = self.box / "index"
        for name, *versions in SOURCES:
            folder = index / "simple" / name
            folder.mkdir(parents=True)
            for version in versions:
                add_source(folder, name, version)
        folder = index / "simple/cffi"
        folder.mkdir()
        (folder / "cffi-2.0.0-py3-none-any.whl").write_bytes(wheel_bytes("cffi", "2.0.0"))
        for folder in (index / "simple").iterdir():
            list_files(index, folder.name, *sorted(path.name for path in folder.iterdir()))

    def configure(self, *programs):
        """Move the default folder of the site into the sandbox, for *programs*."""
        file = self.box / "piwheels/.config/piwheels/piwheels.toml"
        file.parent.mkdir(parents=True)
        site = f"output-path = '{self.box}/var/www/piwheels'\n"
        file.write_text("".join(f"[{program}]\n{site}" for program in programs))

    def _program(self, folder, name, text):
        path = self.box / folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def place(self, command):
        """Return a *command* of a chapter with the places of the sandbox."""
        for there, here in PLACES.items():
            command = command.replace(there, here.format(box=self.box))
        return command

    def run(self, command):
        """Run a *command* to its end, which must be a success."""
        done = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", command], cwd=self.clone, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=patience(60), check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def start(self, command):
        """Start a *command* that runs until it is stopped; return its log."""
        log = self.box / f"{len(self.started)}.log"
        with log.open("w") as out:
            self.started[command] = subprocess.Popen(
                ["/bin/bash", "-c", command], cwd=self.clone, env=self.env, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            ), log  # fmt: skip
        return log

    def check(self):
        """Check that everything that was started still runs."""
        for command, (process, log) in self.started.items():
            assert process.poll() is None, f"{command}\n{log.read_text()}"

    def stop(self, sign=signal.SIGTERM):
        """Stop everything that was started, and wait for its end."""
        for process, _ in self.started.values():
            os.killpg(process.pid, sign)
        for process, _ in self.started.values():
            process.wait(patience(30))
        self.started.clear()

    def close(self):
        if self.started:
            self.stop(signal.SIGKILL)
        self.index.shutdown()
        self.index.server_close()


@pytest.fixture
def sandbox(short_dir, system_user, superuser_dsn):
    if not any((folder / "psql").exists() for folder in candidates(os.environ)):
        pytest.skip("needs the client programs of PostgreSQL (psql)")
    options = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with Cluster(short_dir / "chapters-pg", user=system_user, options=options) as cluster:
        administer(cluster.dsn(), "DROP ROLE {}", names=["piwheels"])  # the chapters make it
        made = Sandbox(short_dir / "chapters", cluster, superuser_dsn)
        try:
            yield made
        finally:
            made.close()


def wheels(site):
    """Return the names of the wheels on a *site*."""
    return {path.name for path in site.glob("simple/*/*.whl")}


def act(box, command):
    """Run or start one *command* of a chapter, and see what it promises."""
    words = shlex.split(command)
    if words[:2] == ["./go", "up"] and box.up:
        load("piw-up", UpConfig, words[2:], {"HOME": "/nonexistent"})  # one such farm is enough
    elif words[:2] == ["./go", "up"]:
        box.up = box.start(command.replace(" --once", ""))  # it serves the following commands
        until(lambda: box.check() or "the site is at" in box.up.read_text(), 60)
        assert f"pip install --index-url http://{HOST}:8080/simple/ " in box.up.read_text()
    elif words[-1] == "console" or "piw-console" in words:
        assert ": LIVE; " in box.run(f"{command} --once")
    elif "piw-master" in words:
        log = box.start(command)
        until(lambda: box.check() or "listening for slaves" in log.read_text(), 60)
    elif "piw-slave" in words:
        log = box.start(command)
        until(lambda: box.check() or "welcomed" in log.read_text(), 60)
    elif "tail" in words:
        box.start(command)
    else:
        said = box.run(command)
        if "piw-audit" in words:
            assert "files, logs, index, database: 0 findings" in said


def new_machine(box, done):
    """Lose the farm and its database; keep the backup, and install the programs again."""
    box.check()
    box.stop()
    for what in ("DATABASE", "ROLE"):
        administer(box.dsn, f"DROP {what} {{}}", names=["piwheels"])
    shutil.rmtree(box.box / "var/www")
    shutil.rmtree(box.box / "piwheels")
    (box.box / "piwheels/run").mkdir(parents=True)
    box.configure("master", "audit")  # no master has run here
    box.run(next(command for command in done if command.startswith("install ")))


def test_every_command_runs_in_order(sandbox):
    site = sandbox.box / "var/www/piwheels"
    built = {WHEEL, "six-1.17.0-py3-none-any.whl", "wrapt-2.0-py3-none-any.whl"}
    known, done = Counter(), Counter()
    for page in ("docs/quickstart.md", "README.md", "docs/farm.md"):
        own = [sandbox.place(command) for command in commands(page)]
        assert len(own) > 10
        for command in own:
            if command in LEFT_OUT:
                done[command] += 1
                continue
            if known[command]:  # another page had it already
                known[command] -= 1
                continue
            if command.endswith(" createuser piwheels") and done[command]:
                new_machine(sandbox, done)
                known.clear()
            if " pg_dump " in command:  # no build ends between the copies of database and site
                until(lambda: built <= wheels(site) and len(list(site.rglob("*.txt.gz"))) == 3, 60)
            act(sandbox, command)
            done[command] += 1
        known = Counter(own) & done
    assert set(LEFT_OUT) <= set(done)
    assert done["sudo -u piwheels piw-audit"] == 2  # of the farm, and of its copy
    assert built <= wheels(site)
    assert {"markupsafe.py", "six.py"} <= {
        path.name for path in (sandbox.box / "installed").iterdir()
    }
