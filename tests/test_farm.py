"""A whole farm, as processes: master, slaves, the real database, an index of files, and kill -9."""

import hashlib
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

from helpers import add_source, alive, free_port, patience
from piwheels.core.host.supervision import descendants
from piwheels.core.keys.files import read_pair
from piwheels.core.site import LAYOUT_FILE

ABI = f"cp{sys.version_info[0]}{sys.version_info[1]}"
# A slave and a master as they are, but for the patience with one another.
IMPATIENT = (
    "import sys\nfrom datetime import timedelta\n"
    "from piwheels.master.__main__ import main\nfrom piwheels.master.logic import fleet\n"
    "fleet.BUSY_TIMEOUT = timedelta(seconds=1), fleet.BUSY_TIMEOUT[1]\nsys.exit(main())"
)
SHORT_LIVED = (
    "import sys\nfrom datetime import timedelta\nfrom piwheels.slave import app, lane\n"
    "app.BUSY_TIMEOUT = timedelta(seconds=3)\nlane.CONT_WAIT = 1.0\nsys.exit(app.main())"
)


class Farm:
    """Everything of one farm is in *root*."""

    def __init__(self, root, dsn, db):
        self.root, self.dsn, self.db = root, dsn, db
        self.site, self.work, self.gate = root / "site", root / "work", root / "gate"
        self.processes = {}
        self.work.mkdir()
        (root / "home").mkdir()
        (root / "index/demo").mkdir(parents=True)
        db.add_build_abi(ABI)
        db.add_new_package("demo")
        self.add("1.0")

    def add(self, version, act="pass"):
        """Request a version, whose build runs *act*, notes it, and waits for the gate."""
        folder = self.root / "index/demo"
        reach = f"open({str(self.gate)!r} + '.reached', 'a').write('x')"
        wait = f"while not os.path.exists({str(self.gate)!r}): time.sleep(0.05)"
        add_source(folder, version=version, before=f"{act}\n    {reach}\n    {wait}")
        links = (f'<a href="{path.name}">{path.name}</a>' for path in folder.glob("*.tar.gz"))
        (folder / "index.html").write_text("".join(links))
        self.db.add_new_package_version("demo", version, datetime.now(UTC))

    def _start(self, name, *args):
        env = {**os.environ, "PIW_ALLOW_ROOT": "1", "PIP_CONFIG_FILE": os.devnull,
               "HOME": str(self.root / "home"), "XDG_CONFIG_HOME": ""}  # fmt: skip
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([sys.executable, *args], env=env, stderr=log)
        return self.processes[name]

    def queues(self, names):
        return [f"--{name}-queue=ipc://{self.root}/{name}" for name in names]

    def master(self, *program):
        wires = self.queues(("status", "control", "console", "import", "log", "slave", "file"))
        return self._start(
            "master", *(program or ("-m", "piwheels.master")), "--dev-mode", f"--dsn={self.dsn}",
            f"--output-path={self.site}", f"--pypi-simple=file://{self.root}/index", *wires,
        )  # fmt: skip

    def slave(self, name, *program):
        wires = self.queues(("slave", "file"))
        program = program or ("-m", "piwheels.slave")
        # The builds wait for a file outside of their folders.
        return self._start(
            name, *program, "-L", name, "-d", str(self.work), "--sandbox=none", *wires
        )

    def kill_master(self):
        self.processes["master"].kill()
        self.processes["master"].wait()

    def welcomes(self):
        """Return how often the master has welcomed each slave."""
        return [self.said(name).count("welcomed") for name in self.processes if name != "master"]

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

    def builds(self, version="1.0"):
        return self.db.get_builds([("demo", version)])

    def published(self, version="1.0"):
        """Return whether the page has the version, and the site the log of each build."""
        page = self.site / "simple/demo/index.html"
        logs = len(list(self.site.rglob("*.txt.gz")))
        wheel = f"demo-{version}-py3-none-any.whl"
        return page.exists() and wheel in page.read_text() and logs == int(version[0])

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
        assert [path.name for path in left if path.stat().st_size] == [LAYOUT_FILE]
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


class KeyedFarm(Farm):
    """Its slaves connect by TCP, each with its own key."""

    def __init__(self, root, dsn, db):
        super().__init__(root, dsn, db)
        self.ports = {name: free_port() for name in ("slave", "file")}

    def queues(self, names):
        tcp = [f"--{name}-queue=tcp://127.0.0.1:{port}" for name, port in self.ports.items()]
        return [*super().queues(set(names) - set(self.ports)), *tcp]

    def master(self):
        return super().master("-m", "piwheels.master", f"--keys={self.root}/keys")

    def slave(self, name, *options):
        program = "-m", "piwheels.slave", f"--key={self.root}/{name}.key"
        return super().slave(name, *program, *options)

    def key_of_master(self, name):
        return read_pair(self.root / "keys" / f"{name}.key").public

    def keys(self, *args):
        command = [sys.executable, "-m", "piwheels.keys", *args, f"--keys={self.root}/keys"]
        subprocess.run([*command, "--yes"], check=True, timeout=patience(60), cwd=self.root)


@contextmanager
def _farm(dsn, db, kind=Farm):
    with tempfile.TemporaryDirectory(prefix="piw-farm-") as root:
        farm = kind(Path(root), dsn, db)
        try:
            yield farm
            farm.check()
        finally:
            farm.kill_all()


@pytest.fixture
def farm(db_dsn, db):
    with _farm(db_dsn, db) as made:
        yield made


def test_a_revoked_slave_is_cut_in_mid_build_and_another_one_takes_over(db_dsn, db):
    with _farm(db_dsn, db, KeyedFarm) as farm:
        for name in ("one", "two"):
            farm.keys("enrol", name, "--file", f"{name}.key")
        farm.master()
        farm.slave("one")
        farm.until(lambda: farm.reached() == 1, "nobody builds")
        farm.keys("revoke", "one")
        farm.until(lambda: "the master refused this slave: it does not admit this key" in
                   farm.said("one"), "not refused")  # fmt: skip
        farm.slave("two")
        farm.gate.touch()
        farm.until(farm.published, "not built")
        assert "slave 2 built demo 1.0" in farm.said("master")
        assert "cut connections: the key of one was revoked" in farm.said("master")


def test_a_master_changes_its_key_in_mid_build_and_no_build_is_lost(db_dsn, db):
    with _farm(db_dsn, db, KeyedFarm) as farm:
        farm.keys("enrol", "one", "--file", "one.key")
        farm.keys("rotate")
        known = [farm.key_of_master(name) for name in ("master", "next")]
        farm.master()
        farm.slave("one", *(f"--master-key={key}" for key in known))
        farm.until(lambda: farm.reached() == 1, "nobody builds")
        farm.keys("rotate")
        farm.processes["master"].terminate()
        assert farm.processes["master"].wait(patience(20)) == 0
        farm.master()
        assert farm.key_of_master("master") == known[1]
        farm.until(lambda: farm.welcomes() == [2], "the slave is not back")
        farm.gate.touch()
        farm.until(farm.published, "not built")
        assert farm.reached() == 1


def test_a_master_killed_in_mid_build_and_after_done_gets_its_build_once(farm):
    farm.master()
    farm.slave("one")
    farm.slave("two")
    farm.until(lambda: farm.reached() == 1, "nobody builds")
    farm.kill_master()
    farm.master()
    begin = time.monotonic()
    farm.until(lambda: farm.welcomes() == [2, 2], "lost", 15)
    assert time.monotonic() - begin < patience(12)
    farm.gate.touch()
    farm.until(farm.builds, "not built")
    farm.kill_master()  # between the commit and the pages, or thereabouts
    farm.master()
    farm.until(farm.published, "no page, or no log")
    farm.until(lambda: farm.welcomes() == [3, 3], "the slaves are not back", 15)
    assert [build.status for build in farm.builds()] == [True]
    assert farm.reached() == 1
    # The slave may have returned with it, and had to ask whether it is still needed.
    farm.until(lambda: not farm.db.get_leases(), "a lease is left")


def test_a_suspended_slave_resumes_its_build_and_that_of_a_killed_one_moves_to_another(farm):
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
    farm.gate.unlink()
    farm.add("2.0")
    farm.until(lambda: farm.reached() == 2, "nobody builds 2.0")
    deaths = farm.said("master").count("declared dead")
    tree = descendants(slave.pid)
    farm.processes.pop("one").kill()
    slave.wait()
    farm.until(lambda: not any(map(alive, tree)), "orphans", 10)
    farm.until(lambda: not list(farm.work.iterdir()), "its folder is left", 10)
    farm.gate.touch()
    farm.slave("two", "-c", SHORT_LIVED)
    farm.until(lambda: farm.published("2.0"), "not built again")
    assert [build.status for build in farm.builds("2.0")] == [True]
    assert farm.said("master").count("declared dead") > deaths


def test_the_page_says_what_a_build_fetched_and_what_came_of_its_file(farm):
    ask = "import urllib.request; urllib.request.urlopen('http://evil.example/')"
    farm.add("2.0", f"import subprocess; subprocess.run([sys.executable, '-c', {ask!r}])")
    farm.gate.touch()
    farm.master()
    farm.slave("one")
    page = farm.site / "project/demo/index.html"
    done = "fetched 1 file; asked for evil.example:80: refused"
    farm.until(lambda: page.exists() and done in page.read_text(), "not on the page", 60)
    source = farm.root / "index/demo/demo-2.0.tar.gz"
    assert hashlib.sha256(source.read_bytes()).hexdigest() in page.read_text()
    assert f"<code>file://{source}</code>" in page.read_text()
    release = json.loads((page.parent / "json/index.json").read_text())["releases"]["2.0"]
    build, file = release["builds"][0], *release["files"].values()
    assert (build["fetched"], build["refused"]) == (1, ["evil.example:80"])
    assert (file["installs"], file["imports"]) == (True, True)
    assert "<bdi>imports</bdi>" in page.read_text()


def test_what_cures_a_build_is_tried_first_for_the_next_version(farm):
    old = (
        "import urllib.request; names = os.environ.get('PIP_BUILD_CONSTRAINT', '').split();"
        " texts = [urllib.request.urlopen(name).read().decode() for name in names];"
        " 'setuptools<58' in ''.join(texts) or sys.exit("
        "'error in demo setup command: use_2to3 is invalid.')"
    )
    farm.add("2.0", old)
    farm.gate.touch()
    farm.master()
    farm.slave("one")
    page = farm.site / "project/demo/index.html"
    farm.until(lambda: page.exists() and "built with setuptools" in page.read_text(), "no cure", 60)
    failed, cured = farm.builds("2.0")
    assert (failed.status, failed.reason, failed.subject) == (
        False, "tools-too-new", "setuptools<58",
    )  # fmt: skip
    assert (cured.status, cured.recipe) == (True, {"constraints": ["setuptools<58"]})
    farm.add("3.0", old)
    farm.until(lambda: farm.builds("3.0"), "the next version is not built", 60)
    (only,) = farm.builds("3.0")
    assert (only.status, only.recipe) == (True, {"constraints": ["setuptools<58"]})
