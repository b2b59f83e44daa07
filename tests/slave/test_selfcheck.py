"""A slave checks pip, Python, compiler and build directory before it asks for work."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from piwheels.slave import app, selfcheck, workshops
from piwheels.slave.selfcheck import check

PIP = [sys.executable, "-I", "-m", "pip"]
PYTHON = Path(sys.executable)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Return a Python without the modules ssl and bz2, and without headers."""
    folder = tmp_path_factory.mktemp("broken") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    script = (
        "import sys, sysconfig; sys.modules.update(ssl=None, bz2=None);"
        " sysconfig.get_path = sysconfig.get_config_var = lambda name: '/nonexistent'\n"
    )
    (site / "broken.pth").write_text(script)
    return folder / "bin" / "python"


@pytest.fixture
def old_pip(tmp_path):
    """Return a pip that does not know an option of each build."""
    script = tmp_path / "pip.py"
    script.write_text(
        "import optparse, sys\n"
        "parser = optparse.OptionParser(prog='pip')\n"
        "parser.add_option('-v', action='store_true')\n"
        "parser.add_option('--no-input', action='store_true')\n"
        "parser.parse_args()\n"
    )
    return [sys.executable, str(script)]


def test_this_python_and_its_pip_can_build(tmp_path):
    assert check(PYTHON, PIP, tmp_path).fatal == []


def test_modules_and_headers_that_are_missing_are_named(broken, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    fatal, lacks = check(broken, PIP, tmp_path)
    assert fatal == [
        f"{broken} has no module ssl: install all of Python",
        "there is no C compiler (/nonexistent): install build-essential",
    ]
    assert lacks == [
        f"{broken} has no module bz2: install all of Python",
        "there are no headers of Python in /nonexistent: install python3-dev",
    ]


def test_a_pip_that_does_not_know_the_options_of_a_build_is_too_old(old_pip, tmp_path):
    (why,) = check(PYTHON, old_pip, tmp_path).fatal
    assert "no such option: --no-color" in why
    assert "install a newer pip" in why


@pytest.mark.parametrize("seconds", [60.0, 0.001])
def test_a_python_that_does_not_work_is_reported(seconds, tmp_path, monkeypatch):
    monkeypatch.setattr(selfcheck, "_SECONDS", seconds)
    python = PYTHON if seconds < 1 else Path("/nonexistent")
    (*_, why) = check(python, PIP, tmp_path).fatal
    assert f"{python} does not work" in why


def test_a_slave_that_cannot_build_does_not_start(broken, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PIW_ALLOW_ROOT", "1")
    monkeypatch.setattr(workshops, "pip_command", lambda _: PIP)
    assert app.main(["--python", str(broken), "--dir", str(tmp_path)]) == 1
    assert "has no module ssl: install all of Python" in capsys.readouterr().err
