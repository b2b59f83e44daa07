"""The choice of the farm that piw-audit checks."""

import socket
import tempfile
from pathlib import Path

import pytest

from piwheels.audit.config import SERVICE, AuditConfig, Place
from piwheels.core.paths import FARM_FILE
from piwheels.core.program.command_line import load
from piwheels.up.config import write_farm_file

DSN = "postgresql:///piwheels?host=/farm/postgres&user=piwheels"
SITE = Path('/farm/a "site" \N{SNAKE}')


def place(*args: str, **environ: str) -> Place:
    return load("piw-audit", AuditConfig, args, {"HOME": "/nonexistent"} | environ).place


@pytest.fixture
def home(monkeypatch):
    """The folder of this user's piw-up, short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="piw-a-") as name:
        monkeypatch.setenv("XDG_DATA_HOME", name)
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{name}/none")
        monkeypatch.setenv("TMPDIR", f"{name}/none")
        home = Path(name, "piwheels")
        (home / "run").mkdir(parents=True)
        write_farm_file(home, DSN, SITE, f"ipc://{home}/run/import")
        yield home


@pytest.fixture
def running(home):
    with socket.socket(socket.AF_UNIX) as master:
        master.bind(str(home / "run/import"))
        master.listen()
        yield home


def test_the_farm_of_piw_up_while_it_runs(running):
    assert place() == (DSN, SITE)
    (running / FARM_FILE).unlink()  # an older piw-up
    assert place() == SERVICE


def test_the_service_while_piw_up_does_not_run(home):
    assert place() == SERVICE


@pytest.mark.usefixtures("running")
def test_options_override_the_farm_of_piw_up():
    assert place("--dsn", "postgresql:///other") == ("postgresql:///other", SERVICE.site)
    assert place("-o", "/srv/site") == (SERVICE.dsn, Path("/srv/site"))
    assert place(PIW_DSN="postgresql:///other").dsn == "postgresql:///other"


def test_a_farm_is_named_by_its_file(home):
    file = home / FARM_FILE
    config = load("piw-audit", AuditConfig, ["--config", str(file)], {"HOME": "/nonexistent"})
    assert config.place == (DSN, SITE)
    assert config.import_queue == f"ipc://{home}/run/import"
    assert file.stat().st_mode & 0o777 == 0o600
