"""A whole farm, as processes: master, slaves, the real database, an index of files, and kill -9."""

import html.parser
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from helpers import add_source, alive, patience
from piwheels.core.host.supervision import descendants

WHEEL = "demo-1.0-py3-none-any.whl"
ABI = f"cp{sys.version_info[0]}{sys.version_info[1]}"
# A slave and a master as they are, but for the patience with one another.
IMPATIENT = (
    "import sys\nfrom datetime import timedelta\n"
    "from piwheels.master.__main__ import main\nfrom piwheels.master.logic import fleet\n"
    "fleet.BUSY_TIMEOUT = timedelta(seconds=1), fleet.BUSY_TIMEOUT[1]\nsys.exit(main())"
)
SHORT_LIVED = (
    "import sys\nfrom datetime import timedelta\nfrom piwheels.slave import app\n"
    "app.BUSY_TIMEOUT = timedelta(seconds=3)\napp.CONT_WAIT = 1.0\nsys.exit(app.main())"
)


class Farm:
    """Everything of one farm is in *root*."""

    def __init__(self, root, dsn, db):
        self.root, self.dsn, self.db = root, dsn, db
        self.site, self.work, self.gate = root / "site", root / "work", root / "gate"
        self.processes = {}
        self.work.mkdir()
        (root / "home").mkdir()
        folder = root / "index/demo"
        folder.mkdir(parents=True)
        reach = f"open({str(self.gate)!r} + '.reached', 'a').write('x')"
        wait = f"while not os.path.exists({str(self.gate)!r}): time.sleep(0.05)"
        add_source(folder, before=f"{reach}\n    {wait}")
        (folder / "index.html").write_text('<a href="demo-1.0.tar.gz">demo-1.0.tar.gz</a>')
        db.add_build_abi(ABI)
        db.add_new_package("demo")
        db.add_new_package_version("demo", "1.0", datetime.now(UTC))

    def _start(self, name, *args):
        env = {**os.environ, "PIW_ALLOW_ROOT": "1", "PIP_CONFIG_FILE": os.devnull,
               "HOME": str(self.root / "home"), "XDG_CONFIG_HOME": ""}  # fmt: skip
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([sys.executable, *args], env=env, stderr=log)
        return self.processes[name]

    def master(self, *program):
        names = ("status", "control", "console", "import", "log", "slave", "file")
        wires = [f"--{name}-queue=ipc://{self.root}/{name}" for name in names]
        return self._start(
            "master", *(program or ("-m", "piwheels.master")), "--dev-mode", f"--dsn={self.dsn}",
            f"--output-path={self.site}", f"--pypi-simple=file://{self.root}/index", *wires,
        )  # fmt: skip

    def slave(self, name, *program):
        wires = [f"--{queue}-queue=ipc://{self.root}/{queue}" for queue in ("slave", "file")]
        program = program or ("-m", "piwheels.slave")
        return self._start(name, *program, "-L", name, "-d", str(self.work), *wires)

    def said(self, name):
        return (self.root / f"{name}.log").read_text()

    def until(self, condition, what, seconds=25):
        end = time.monotonic() + patience(seconds)
        while not condition():
            assert time.monotonic() < end, f"{what}\n" + "\n".join(
                f"--- {name}\n{self.said(name)[-1500:]}" for name in self.processes
            )
            time.sleep(0.02)

    def reached(self):
        marker = self.root / "gate.reached"
        return len(marker.read_text()) if marker.exists() else 0

    def builds(self):
        return self.db.get_builds([("demo", "1.0")])

    def published(self):
        page = self.site / "simple/demo/index.html"
        return page.exists() and WHEEL in page.read_text() and any(self.site.rglob("*.txt.gz"))

    def check(self):
        """Stop everything in order, and see that all is well and nothing is left."""
        tree = {}
        for process in self.processes.values():
            tree |= descendants(process.pid)
        for name in sorted(self.processes, key="master".__eq__):
            process = self.processes[name]
            if process.poll() is None:
                process.terminate()
                assert process.wait(patience(20)) == 0, self.said(name)
            assert "Traceback" not in self.said(name)
        self.until(lambda: not any(map(alive, tree)), "orphans", 10)
        assert list(self.work.iterdir()) == []
        left = [path for path in (self.root / ".site.work").rglob("*") if path.is_file()]
        assert [path for path in left if path.stat().st_size] == []
        for index in self.site.glob("simple/*/index.v1_json"):
            for file in json.loads(index.read_text())["files"]:
                assert (index.parent / file["filename"]).stat().st_size == file["size"]
                assert (index.parent / (file["filename"] + ".metadata")).exists()
        for page in self.site.glob("simple/*/index.html"):
            for link in _links(page.read_text()):
                assert (page.parent / link).exists(), link

    def kill_all(self):
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


def _links(page):
    found = []

    class Links(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            href = dict(attrs).get("href", "").partition("#")[0]
            if tag == "a" and href.endswith(".whl"):
                found.append(href.rpartition("/")[2])

    Links().feed(page)
    return found


@contextmanager
def _farm(dsn, db):
    with tempfile.TemporaryDirectory(prefix="piw-farm-") as root:
        farm = Farm(Path(root), dsn, db)
        try:
            yield farm
            farm.check()
        finally:
            farm.kill_all()


@pytest.fixture
def farm(db_dsn, db):
    with _farm(db_dsn, db) as made:
        yield made


def test_from_the_database_to_the_index_though_the_master_is_killed_after_done(farm):
    farm.gate.touch()
    farm.master()
    farm.slave("one")
    farm.until(farm.builds, "not built")
    farm.processes["master"].kill()  # between the commit and the pages, or thereabouts
    farm.processes["master"].wait()
    farm.master()
    farm.until(farm.published, "no page, or no log")
    farm.until(lambda: farm.said("one").count("welcomed") == 2, "the slave is not back", 15)
    assert [build.status for build in farm.builds()] == [True]
    assert farm.reached() == 1


def test_a_master_killed_in_mid_build_gets_its_build_once(farm):
    farm.master()
    farm.slave("one")
    farm.slave("two")
    farm.until(lambda: farm.reached() == 1, "nobody builds")
    os.kill(farm.processes["master"].pid, signal.SIGKILL)
    farm.processes["master"].wait()
    farm.master()
    begin = time.monotonic()
    both = ("one", "two")
    farm.until(lambda: all(farm.said(name).count("welcomed") == 2 for name in both), "lost", 15)
    assert time.monotonic() - begin < patience(12)
    farm.gate.touch()
    farm.until(farm.published, "not published")
    assert [build.status for build in farm.builds()] == [True]
    assert farm.reached() == 1
    assert farm.db.get_leases() == []


def test_what_a_killed_slave_was_building_is_built_by_another(farm):
    farm.master("-c", IMPATIENT)
    farm.slave("one", "-c", SHORT_LIVED)
    farm.until(lambda: farm.reached() == 1, "nobody builds")
    tree = descendants(farm.processes["one"].pid)
    one = farm.processes.pop("one")
    one.kill()
    one.wait()
    farm.until(lambda: not any(map(alive, tree)), "orphans", 10)
    farm.until(lambda: not list(farm.work.iterdir()), "its folder is left", 10)
    farm.gate.touch()
    farm.slave("two", "-c", SHORT_LIVED)
    farm.until(farm.published, "not built again")
    assert [build.status for build in farm.builds()] == [True]
    assert "declared dead" in farm.said("master")


def test_a_suspended_slave_that_was_declared_dead_resumes_its_own_build(farm):
    farm.master("-c", IMPATIENT)
    slave = farm.slave("one", "-c", SHORT_LIVED)
    farm.until(lambda: farm.reached() == 1, "nobody builds")
    slave.send_signal(signal.SIGSTOP)
    farm.until(lambda: "declared dead" in farm.said("master"), "not declared dead", 60)
    slave.send_signal(signal.SIGCONT)
    farm.until(lambda: farm.said("one").count("welcomed") == 2, "not welcomed again", 60)
    assert "still building demo 1.0" in farm.said("one")
    assert "connecting again" not in farm.said("one")  # the master said HELLO, on the same socket
    farm.gate.touch()
    farm.until(farm.published, "not published", 60)
    assert [build.status for build in farm.builds()] == [True]
    assert farm.reached() == 1
