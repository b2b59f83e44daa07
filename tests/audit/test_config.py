"""The choice of the farm that piw-audit checks."""

import socket
import tempfile
from pathlib import Path

import pytest

from piwheels.audit.config import SERVICE, AuditConfig, Place
from piwheels.core import paths
from piwheels.core.paths import FARM_FILE, write_farm_file
from piwheels.core.program.command_line import load

DSN = "postgresql:///piwheels?host=/farm/postgres&user=piwheels"
FILES = "tcp://*:5556"
SITE = Path('/farm/a "site" \N{SNAKE}')


def place(*args: str, **environ: str) -> Place:
    return load("piw-audit", AuditConfig, args, {"HOME": "/nonexistent"} | environ).place


@pytest.fixture
def home(monkeypatch):
    """The folder of this user's piw-up, short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="piw-a-") as name:
        monkeypatch.setenv("XDG_DATA_HOME", name)
        monkeypatch.setenv("XDG_RUNTIME_DIR", name + "/own")
        Path(name, "own/piwheels").mkdir(parents=True)
        monkeypatch.setattr(paths, "SERVICE", Path(name, "service"))
        home = Path(name, "piwheels")
        (home / "run").mkdir(parents=True)
        write_farm_file(DSN, SITE, f"ipc://{home}/run/import", FILES)
        yield home


@pytest.fixture
def running(home):
    with socket.socket(socket.AF_UNIX) as master:
        master.bind(str(home / "run/import"))
        master.listen()
        yield home


def test_the_farm_of_the_running_master(running):
    other = "ipc://" + str(running.parent / "own/piwheels/import")
    write_farm_file("postgresql:///stopped", SITE, other, FILES)
    assert place() == (DSN, SITE)
    (running / "run" / FARM_FILE).unlink()  # an older master
    assert place() == SERVICE


def test_the_farm_that_started_last_while_no_master_runs(home):
    assert place() == (DSN, SITE)
    (home / "run" / FARM_FILE).unlink()
    assert place() == SERVICE


def test_the_file_of_another_user_is_ignored(home, monkeypatch):
    monkeypatch.setattr(paths.os, "geteuid", lambda: home.stat().st_uid + 1)
    assert place() == SERVICE


def test_a_link_is_not_written_through(home):
    file = home / "run" / FARM_FILE
    file.unlink()
    file.symlink_to(home / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        write_farm_file(DSN, SITE, f"ipc://{home}/run/import", FILES)
    assert not (home / "elsewhere").exists()


def test_a_master_without_a_local_socket_writes_no_file():
    write_farm_file(DSN, SITE, "tcp://127.0.0.1:5557", FILES)
    write_farm_file(DSN, SITE, "inproc://import", FILES)


@pytest.mark.usefixtures("running")
def test_options_override_the_farm_of_the_master():
    assert place("--dsn", "postgresql:///other") == ("postgresql:///other", SERVICE.site)
    assert place("-o", "/srv/site") == (SERVICE.dsn, Path("/srv/site"))
    assert place(PIW_DSN="postgresql:///other").dsn == "postgresql:///other"


def test_a_farm_is_named_by_its_file(home):
    file = home / "run" / FARM_FILE
    config = load("piw-audit", AuditConfig, ["--config", str(file)], {"HOME": "/nonexistent"})
    assert config.place == (DSN, SITE)
    assert config.import_queue == f"ipc://{home}/run/import"
    assert file.stat().st_mode & 0o777 == 0o600
