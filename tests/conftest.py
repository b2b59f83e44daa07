"""Shared by all tests: tiers and limits; one PostgreSQL cluster a session, copies of one schema."""

from __future__ import annotations

import gc
import logging
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
import pytest_timeout

from helpers import installed, patience
from piwheels.core.database.dsn import administer, database_of, redirect
from piwheels.core.host.postgres import Cluster
from piwheels.core.paths import DAEMON

hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

if cache := os.environ.get("PIW_GO_CACHE"):
    # Every process of the tests would compile the templates of the pages again.
    os.environ.setdefault("CHAMELEON_CACHE", os.path.join(cache, "templates"))  # noqa: PTH118
    Path(os.environ["CHAMELEON_CACHE"]).mkdir(exist_ok=True)

# A test's rows may die with the machine
CARELESS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",  # of databases that live for a second
    "max_wal_size": "256MB",
    "timezone": "UTC",
}


# What these tests need is not on every machine; CI has all of it
NEEDED = {
    "chromium": "test_browser.py",
    "java": "test_browser.py",
    "nginx": "test_servers.py",
    "apache2": "test_servers.py",
}
ABSENT = [name for name in NEEDED if not installed(name)]
collect_ignore = [NEEDED[name] for name in ABSENT if name == "chromium"]


#: Answers as apt of a Debian machine does, and notes how it was called.
APT = """#!/bin/sh
echo "$@" >> "$0.calls"
echo "http://deb.example/debian/ bookworm main"
echo "http://deb.example/debian/ bookworm-updates main"
echo "http://deb.example/debian/ bookworm contrib"
echo "http://deb.example/security/ bookworm-security main"
echo "http://other.example/ cloud-bookworm main"
"""


# A test is quick unless its module or its fixtures can start processes, threads or servers.
STARTERS = (
    "asyncio", "httpx", "multiprocessing", "pty", "socket", "subprocess", "threading", "zmq",
)  # fmt: skip
STARTING_FIXTURES = {
    "_quick_textual", "farm", "healthy", "make_config", "mr_chase", "program", "running",
    "server_dsn", "short_dir", "site_farm",
}  # fmt: skip
#: Files and folders whose tests start something by what they call.
STARTING_FILES = ("tests/core/host/", "tests/slave/egress/test_gate.py")
#: The audit events that a quick test must not cause.
STARTS = {"os.exec", "os.fork", "os.posix_spawn", "socket.connect", "subprocess.Popen"}
#: The files that take longest begin first, so that no core is idle at the end.
LONGEST = (
    # These mostly wait, and the next ones mostly compute: they start together.
    "slave/test_suspension.py", "test_chapters.py", "up/test_farm.py", "slave/test_sources.py",
    "test_farm.py", "slave/test_trials.py", "master/test_floods.py",
    "test_browser.py", "console/ui/test_screens.py", "console/ui/test_frame.py",
    "slave/test_app.py", "master/test_cloud_gazer.py", "console/ui/test_pictures.py",
    "master/test_app.py", "core/host/test_processes.py",
    "console/test_contract.py", "console/ui/test_slave.py", "test_systemd.py",
    "master/test_slave_driver.py", "console/test_web.py", "up/test_console.py",
)  # fmt: skip


def _is_quick(item):
    path = item.path.as_posix()
    if any(name in path for name in STARTING_FILES):
        return False
    if not STARTING_FIXTURES.isdisjoint(item.fixturenames):
        return False
    values = (getattr(item.module, name, None) for name in STARTERS)
    return not any(isinstance(value, ModuleType) for value in values)


def _rank(item):
    path = item.path.as_posix()
    return next((at for at, name in enumerate(LONGEST) if path.endswith(f"tests/{name}")), 99)


def pytest_collection_modifyitems(items):
    items.sort(key=_rank)
    for item in items:
        if _is_quick(item):
            item.add_marker("quick")


def pytest_collection_finish():
    """Collect garbage less often, and not among modules and tests: they live to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item, settings):
    scaled = settings._replace(timeout=patience(settings.timeout))
    return pytest_timeout.pytest_timeout_set_timer(item, scaled)


def pytest_configure(config):
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        # Programs that tests start hear it; a handler is not inherited. This process ignores it.
        signal.signal(signal.SIGHUP, lambda *_: None)
    if config.option.markexpr == "quick":
        sys.addaudithook(_refuse_to_start)


def _refuse_to_start(event, _args):
    if event in STARTS and os.environ.get("PYTEST_CURRENT_TEST", "").endswith("(call)"):
        raise RuntimeError(f"a quick test starts nothing, and this one does: {event}")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable():
    """Escape what UTF-8 cannot encode: the report of a failure goes to another process."""
    return _encodable((yield))


def _encodable(value):
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case list() | tuple():
            return type(value)(map(_encodable, value))
        case dict():
            return {_encodable(key): _encodable(each) for key, each in value.items()}
    return value


def pytest_report_header():
    return [f"{NEEDED[name]}: not with {name}, which is not installed" for name in ABSENT]


@pytest.fixture(autouse=True)
def _log_of_its_own():
    """Remove the log handlers of a program: their streams are closed after the test."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) in (logging.StreamHandler, logging.FileHandler):
            root.removeHandler(handler)
            handler.close()


@pytest.fixture(scope="session")
def system_user():
    """The user that servers of the tests run as: PostgreSQL refuses root (None: as we are)."""
    return "nobody" if os.geteuid() == 0 else None


def _has_memory():
    """Return whether files fit in memory, which takes a third of the time for a database."""
    try:
        place = os.statvfs("/dev/shm")
    except OSError:
        return False
    room = place.f_bavail * place.f_frsize
    return room >= 4 * 2**30 and not place.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)


@pytest.fixture(scope="session")
def short_dir():
    """A directory with a short path (unix sockets), that the system user may enter."""
    path = Path(tempfile.mkdtemp(prefix="piw-test-", dir="/dev/shm" if _has_memory() else "/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def server_dsn(short_dir, system_user):
    """A superuser's address of the server: PIW_DSN if it is set, else a cluster of our own."""
    if dsn := os.environ.get("PIW_DSN"):
        yield dsn
        return
    with Cluster(short_dir / "pg", user=system_user, options=CARELESS) as cluster:
        yield cluster.dsn()


@pytest.fixture(scope="session")
def template_db(server_dsn):
    """A superuser's address of a database with our schema, to be copied and never changed."""
    from piwheels import initdb  # noqa: PLC0415 (other tests need none of it)

    name = f"piw_template_{os.getpid()}"
    if not administer(server_dsn, "SELECT 1 FROM pg_roles WHERE rolname = %s", DAEMON):
        administer(server_dsn, "CREATE ROLE {} LOGIN", names=[DAEMON])
    administer(server_dsn, "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", names=[name])
    try:
        dsn = redirect(server_dsn, name)
        assert initdb.main(["--dsn", dsn, "--user", DAEMON, "--yes"]) == 0
        yield dsn
    finally:
        administer(server_dsn, "DROP DATABASE {} WITH (FORCE)", names=[name])


@pytest.fixture(scope="session")
def _copies(server_dsn, template_db):
    from database_copies import Copies  # noqa: PLC0415 (as above)

    copies = Copies(server_dsn, template_db)
    yield copies
    copies.close()


@pytest.fixture
def superuser_dsn(_copies):
    """A superuser's address of a copy of the schema, for this test alone."""
    with _copies.one() as dsn:
        yield dsn


@pytest.fixture
def db_dsn(superuser_dsn):
    """The daemon role's address of this test's copy of the schema."""
    return redirect(superuser_dsn, database_of(superuser_dsn), DAEMON)


@pytest.fixture(scope="module")
def module_dsn(_copies):
    """The daemon role's address of a copy of the schema for the tests of a whole module."""
    with _copies.one() as dsn:
        yield redirect(dsn, database_of(dsn), DAEMON)


@pytest.fixture
def mr_chase(tmp_path, monkeypatch):
    """A replacement for MrChase at the address where the admin tools expect it."""
    from peers import FakeMrChase  # noqa: PLC0415 (as above)

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with FakeMrChase(f"ipc://{tmp_path}/piwheels/import") as stand_in:
        yield stand_in


@pytest.fixture
def tool(mr_chase, capsys):
    """Run an admin tool's *main*; return its exit status, and the lines that it has written."""

    def run(main, *args):
        status = main([*args])
        captured = capsys.readouterr()
        return status, (captured.out + captured.err).splitlines()

    return run


@pytest.fixture
def db(db_dsn):
    """A Database, as the daemon's role, on this test's copy of the schema."""
    from piwheels.core.database import Database  # noqa: PLC0415 (as above)

    database = Database(db_dsn)
    yield database
    database.close()


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Return a function that puts a program on PATH, which has nothing else but a shell."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "env", "rm", "chmod"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))

    def put(name, text):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        return folder / name

    return put


@pytest.fixture
def bookworm(programs, monkeypatch):
    """Make this a machine with Debian bookworm; return the file with the calls of its apt."""
    about = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: about)
    return programs("apt-get", APT).with_name("apt-get.calls")
