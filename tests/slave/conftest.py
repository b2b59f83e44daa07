"""Fixtures: an sdist to build, a master that the test controls, and a build directory."""

import os
import sys
import threading

import pytest

from clocks import StepClock
from helpers import add_source, patience
from piwheels.slave import lane
from piwheels.slave.app import PiWheelsSlave, SlaveConfig
from toy_master import Master

# It does what pip does with the sdists of the fixture source, in a tenth of the time.
QUICK_PIP = """
import os, sys, tarfile, zipfile
if "install" in sys.argv:
    (folder,) = (arg.partition("=")[2] for arg in sys.argv if arg.startswith("--target="))
    zipfile.ZipFile(sys.argv[-1]).extractall(folder)
    sys.exit()
if "--help" in sys.argv or "--version" in sys.argv:  # the slave checks that it works
    sys.exit()
if "config" in sys.argv:  # the slave reads the settings
    print(f":env:.find-links={os.environ.get('PIP_FIND_LINKS', '')!r}")
    sys.exit()
(folder,) = (arg.partition("=")[2] for arg in sys.argv if arg.startswith("--wheel-dir="))
name = sys.argv[-1].replace("==", "-")
with tarfile.open(os.path.join(os.environ["PIP_FIND_LINKS"], name + ".tar.gz")) as sdist:
    exec(sdist.extractfile(name + "/backend.py").read())
build_wheel(folder)
"""


@pytest.fixture(autouse=True)
def _data(tmp_path_factory, monkeypatch):
    """Keep the identity of these slaves apart from the user's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Return a function that gives pip an sdist of demo 1.0, whose build runs *act*."""
    folder = tmp_path / "sources"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def make(act="pass"):
        add_source(folder, before=act)

    make()
    return make


@pytest.fixture
def gate(source, tmp_path):
    """A path: the build prints zzz, and continues once there is a file."""
    path = tmp_path / "gate"
    wait = f"while not os.path.exists({str(path)!r}): time.sleep(0.05)"
    source(f"print('zzz', flush=True)\n    {wait}")
    return path


@pytest.fixture
def master():
    made = Master()
    yield made
    if not made.context.closed:
        made.vanish()


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def level():
    """The protocol level that the slave speaks."""
    return 1


@pytest.fixture
def jobs():
    """How many builds the slave runs at once."""
    return 1


@pytest.fixture
def pip():
    """The command by which the slave runs pip (``None``: the real pip)."""
    return [sys.executable, "-I", "-S", "-c", QUICK_PIP]


@pytest.fixture
def slave(master, work, level, jobs, pip, source, monkeypatch):  # noqa: PLR0917
    """A slave that runs in a thread. It must end with status 0 and leave no files."""
    monkeypatch.setattr(lane, "CONT_WAIT", 0.5)
    monkeypatch.setattr(lane, "SLEEP_FIRST", 0.1)
    queues = dict(zip(("slave_queue", "file_queue"), master.addresses, strict=True))
    # The builds of these tests wait for files outside of their folders.
    about = {"label": "toy", "level": level, "jobs": jobs, "sandbox": "none"}
    config = SlaveConfig(dir=work, **about, **queues)
    made = PiWheelsSlave(config, StepClock())
    for workshop in made.workshops:
        workshop.pip = pip or workshop.pip
    ended = []
    thread = threading.Thread(target=lambda: ended.append(made.run()))
    thread.start()
    made.thread = thread
    yield made
    made.stop()
    thread.join(patience(60))
    assert ended == [0]
    assert list(work.iterdir()) == []
