"""The commands of README.md and of the chapters for a start run in order, in a sandbox.

The sandbox has a folder for each user that a command names, and its own PATH: ``sudo`` changes to
the folder of a user (and to its name in PostgreSQL), and other programs that need another host have
a stand-in. Everything else is real: the server of the database, the farms, pip. Programs that start
often are copies of one process (preloaded.py).

If root runs the test (``PIW_ALLOW_ROOT=1 ./go test tests/test_chapters.py``), each command runs as
the user that the chapter names, or else as an ordinary user. Without root, one user runs all.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import peer_farm
from helpers import QuietHandler, add_source, list_files, patience, until, wheel_bytes
from piwheels.core.database.dsn import administer, redirect
from piwheels.core.host.postgres import Cluster, candidates
from piwheels.core.host.processes import dies_with_parent
from piwheels.core.program.command_line import load
from piwheels.core.program.privileges import hidden, interpreter_dirs
from piwheels.up.config import UpConfig
from preloaded import CLIENT
from test_docs import SCRIPTS

ROOT = Path(__file__).resolve().parents[1]
#: Whether each command runs as its user.
AS_USERS = os.geteuid() == 0 and bool(os.environ.get("PIW_ALLOW_ROOT"))
EXTRAS = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.M)
ABI = "cp{}{}".format(*sys.version_info)
#: An address that no other farm on this machine uses.
PID = os.getpid()
HOST = f"127.{PID >> 14 & 255}.{PID >> 7 & 127}.{PID % 128 * 2 + 1}"
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
# The users of the chapters, with numbers that no machine uses, if root runs the test.
USERS = {"reader": 61_001, "postgres": 61_002, "piwheels": 61_003}
# Commands of root begin with these; it is root that may call sudo -u.
ROOTS = ("sudo ", "venv ", "{box}/opt/", "ln ", "useradd ", "install ", "chown ", "rsync ", "tail ")
# Parts of the commands: their places in the sandbox.
PLACES = {
    "/usr/bin/python3 -m venv /opt/": "venv /opt/",
    "/srv/farm/": "{box}/reader/.local/share/piwheels/",
    "/var/": "{box}/var/",
    "/opt/": "{box}/opt/",
    "/usr/local/bin/": "{box}/bin/",
    "/run/piwheels/": "{box}/piwheels/run/piwheels/",
    "/tmp/farm": "{box}/tmp/farm",
    "127.0.0.1:8080": f"{HOST}:8080",
    "tcp://*:": f"tcp://{HOST}:",
    "farm.example": HOST,
    "backup.example:": "{box}/backup-",
    "10.0.0.0/8": "127.0.0.0/8",
    "cp311": ABI,
}
# Programs in the PATH of the sandbox.
STAND_INS = {
    "sudo": 'test "$1" = -u || exec "$@"\n'
    'export PGUSER="$2" HOME={box}/"$2" XDG_RUNTIME_DIR={box}/"$2"/run\nshift 2\n'
    'test -z "$AS_USERS" || set -- setpriv --reuid "$PGUSER" --regid "$(id -g "$PGUSER")"'
    ' --clear-groups "$@"\nexec "$@"',
    "venv": 'mkdir -p "$1/bin"\nln -s {box}/programs/* "$1/bin/"',
    "useradd": 'test "$*" = "--system piwheels"\nmkdir -p {box}/piwheels/run\n'
    "chown -R piwheels: {box}/piwheels",
    "install": 'test "$1 $2" = "-d -o"\nowner="$3"\nshift 3\nmkdir -p "$@"\nchown "$owner": "$@"',
    "chown": 'test -z "$AS_USERS" || exec /usr/bin/chown "$@"\ntest -d "$3" || test "$1" != -R',
    "rsync": 'for to in "$@"; do from="$last"; last="$to"; done\n'
    'mkdir -p "$to"\ncp -a "$from." "$to"',
    "ssh": 'for word in "$@"; do case "$word" in *:*) ln -s "${word#*:}" "${word%%:*}"; esac; done',
}


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
            "clone", "installed", "templates", "programs", "bin", "reader/run", "postgres/run",
            "var/log/nginx",
        ):  # fmt: skip
            (box / name).mkdir(parents=True)
        self._fill_index()
        (box / "var/log/nginx/access.log").touch()
        self.configure("master")  # piw-audit finds it by the master
        (self.clone / WHEEL).write_bytes(wheel_bytes("numpy", "2.3.5"))
        python = os.path.realpath(sys.executable)
        client = CLIENT.format(python=python, socket=f"{box}/programs.socket")
        for name in (*SCRIPTS, "pip", "python", "go"):
            self._program("programs", name, client)
        for name, text in STAND_INS.items():
            self._program("bin", name, f"#!/bin/sh\n{text.replace('{box}', str(box))}\n")
        (box / "bin/pip").symlink_to(box / "programs/pip")
        up = f"PIW_NO_BOARDS=1 PIW_HOST={HOST} PIW_DSN={shlex.quote(up_dsn)}"
        go = f'{box}/programs/go --ready "$@"'
        self._program("clone", "go", f'#!/bin/sh\ntest "$1" != up || export {up}\nexec {go}\n')
        binaries = next(folder for folder in candidates(os.environ) if (folder / "psql").exists())
        keep = {n: v for n, v in os.environ.items() if not n.startswith(("PIW_", "PIP_", "XDG_"))}
        self.env = {
            **keep,
            "CHAMELEON_CACHE": str(box / "templates"),
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
        if compiled := os.environ.get("CHAMELEON_CACHE"):
            for path in Path(compiled).glob("*.py"):
                shutil.copy(path, box / "templates")
        (box / "tmp").mkdir()
        (box / "tmp").chmod(0o1777)
        if AS_USERS:
            self._give_to_users(up_dsn)
        self._preload()

    def _give_to_users(self, up_dsn):
        """Let the users of the chapters write to their own folders, and reach PostgreSQL."""
        self.env["AS_USERS"] = "1"
        del self.env["PIW_ALLOW_ROOT"]
        for name in ("clone", "installed", "postgres", "reader", "templates"):
            uid = USERS.get(name, USERS["reader"])
            for path in (self.box / name, *(self.box / name).rglob("*")):
                os.chown(path, uid, uid)
        for folder in {urlsplit(dsn).query for dsn in (self.dsn, up_dsn)}:
            place = Path(parse_qs(folder)["host"][0])
            place.chmod(0o755)
            for path in place.glob(".s.PGSQL.*"):
                path.chmod(0o777)

    def _preload(self):
        """Start the process of which the programs are copies."""
        accounts = self.box / "passwd"
        lines = [f"{user}:x:{uid}:{uid}::{self.box}/{user}:/bin/sh" for user, uid in USERS.items()]
        accounts.write_text("\n".join([*lines, Path("/etc/passwd").read_text()]))
        folders = hidden([*interpreter_dirs(sys.executable), ROOT]) if AS_USERS else []
        env = dict(self.env)
        if AS_USERS:  # only one user may read the compiled templates
            del env["CHAMELEON_CACHE"]
        self.preloaded = subprocess.Popen(
            [*(["unshare", "--mount"] if AS_USERS else []), sys.executable, "-P",
             ROOT / "tests/preloaded.py", self.box / "programs.socket", json.dumps(SCRIPTS),
             accounts if AS_USERS else "", *folders],
            env=env, start_new_session=True, stdin=subprocess.DEVNULL,
            preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509 (two system calls)
        )  # fmt: skip
        until((self.box / "programs.socket").exists, 60)

    def _as_user(self, command):
        """Return the words that run a *command* of a chapter, as its user if possible."""
        words = ["/bin/bash", "-o", "pipefail", "-c", f"cd {self.clone}\n{command}"]
        if not AS_USERS:
            return words
        user = "reader"
        if command.startswith(tuple(each.format(box=self.box) for each in ROOTS)):
            user = "root"
        elif str(self.box / "tmp/farm") in command:
            user = "piwheels"  # ssh logs in as this user
        uid = USERS.get(user, 0)
        place = f"--mount=/proc/{self.preloaded.pid}/ns/mnt"
        change = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        return ["nsenter", place, "--", *change, *words]

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
        path.write_text(text)
        path.chmod(0o755)

    def place(self, command):
        """Return a *command* of a chapter with the places of the sandbox."""
        for there, here in PLACES.items():
            command = command.replace(there, here.format(box=self.box))
        return command

    def run(self, command):
        """Run a *command* to its end, which must be a success."""
        done = subprocess.run(
            self._as_user(command), env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=patience(60), check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def start(self, command):
        """Start a *command* that runs until it is stopped; return its log."""
        log = self.box / f"{len(self.started)}.log"
        with log.open("w") as out:
            self.started[command] = subprocess.Popen(
                self._as_user(command), env=self.env, start_new_session=True,
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
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, sign)
        for process, _ in self.started.values():
            process.wait(patience(30))
        self.started.clear()

    def close(self):
        if self.started:
            self.stop(signal.SIGKILL)
        os.killpg(self.preloaded.pid, signal.SIGKILL)
        self.preloaded.wait()
        self.index.shutdown()
        self.index.server_close()


def readable(dsn, copy):
    """Return *dsn* with a *copy* of the file of its passwords, for the reader."""
    for path in parse_qs(urlsplit(dsn).query).get("passfile", ()):
        shutil.copy(path, copy)
        if AS_USERS:
            os.chown(copy, USERS["reader"], -1)
        dsn = dsn.replace(path, str(copy))
    return dsn


@pytest.fixture
def sandbox(short_dir, system_user, superuser_dsn):
    if not any((folder / "psql").exists() for folder in candidates(os.environ)):
        pytest.skip("needs the client programs of PostgreSQL (psql)")
    home = Path(tempfile.mkdtemp(prefix="chapters-", dir=short_dir))
    home.chmod(0o755)
    trust = home / "trust.conf"  # the server of a distribution knows its users
    trust.write_text("local all all trust\n")
    options = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    options["hba_file"] = str(trust)
    with Cluster(home / "pg", user=system_user, options=options) as cluster:
        administer(cluster.dsn(), "DROP ROLE {}", names=["piwheels"])  # the chapters make it
        up_dsn = readable(superuser_dsn, home / "passwords")
        made = Sandbox(home / "box", cluster, up_dsn)
        try:
            yield made
        finally:
            made.close()


def wheels(site):
    """Return the names of the wheels on a *site*."""
    return {path.name for path in site.glob("simple/*/*.whl")}


def owners(folder):
    """Return the numbers of the users that wrote files in *folder*."""
    return {path.stat().st_uid for path in folder.rglob("*")}


def act(box, command):
    """Run or start one *command* of a chapter, and see what it promises."""
    words = shlex.split(command)
    if "pip" in command:
        assert {
            each for extras in re.findall(r"\.\[([a-z,]+)\]", command) for each in extras.split(",")
        } <= set(EXTRAS)
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
    elif "invite" in words:
        box.invitation = box.run(command).split()[-1]
    elif "piw-slave" in words:
        log = box.start(command.replace("INVITATION", box.invitation))
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
    box.configure("master", "audit")  # no master has run here
    for program in ("useradd ", "install "):
        box.run(next(command for command in done if command.startswith(program)))


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
                assert owners(site) == {USERS["piwheels"] if AS_USERS else os.geteuid()}
            act(sandbox, command)
            done[command] += 1
        known = Counter(own) & done
    assert set(LEFT_OUT) <= set(done)
    assert done["sudo -u piwheels piw-audit"] == 2  # of the farm, and of its copy
    assert built <= wheels(site)
    installed = sandbox.box / "installed"
    assert {"markupsafe.py", "six.py"} <= {path.name for path in installed.iterdir()}
    assert owners(installed) == {USERS["reader"] if AS_USERS else os.geteuid()}


def test_a_farm_of_piwheels_0_23_moves(sandbox):
    old, farm = redirect(sandbox.dsn, "piwheels"), redirect(sandbox.dsn, "farm")
    site = sandbox.box / "var/www/piwheels"
    administer(sandbox.dsn, "CREATE ROLE piwheels LOGIN")
    administer(sandbox.dsn, "CREATE DATABASE piwheels ENCODING 'UTF8' TEMPLATE template0")
    peer_farm.fill(old, site)
    programs, own = commands("docs/farm.md")[:5], commands("docs/migrating.md")
    assert len(own) > 7
    for command in map(sandbox.place, [*programs, *own]):
        if "piw-audit" in command:  # the pages are to be written first
            until(lambda: not administer(farm, "SELECT FROM rewrites_pending LIMIT 1"), 90)
        act(sandbox, command)
    sandbox.check()
    assert wheels(site) == peer_farm.GOOD
