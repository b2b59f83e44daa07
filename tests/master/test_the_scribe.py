"""TheScribe: requested pages are on disk when it answers, whatever the state of the package."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atom
from helpers import Connected, patience, until, wire
from piwheels.core import codec
from piwheels.core.database.rows import Activity, EndedBuild, ReasonCount, SimpleFile, SimpleProject
from piwheels.core.errors import DatabaseError, Refused
from piwheels.core.site import LAYOUT
from piwheels.core.transport import Context
from piwheels.master.logic import schedule, site_wide
from piwheels.master.messages import (
    DeletePackage,
    DeleteVersion,
    RewritePages,
    WriteHome,
    WriteLog,
    WriteRoot,
    WriteSearch,
)
from piwheels.master.site.overview import Overview
from piwheels.master.the_scribe import TheScribe

NOW = datetime(2026, 11, 1, tzinfo=UTC)


BUILD = {
    "build_id": 7, "abi_tag": "cp311", "platform": "linux_armv7l", "status": False,
    "built_at": NOW, "duration": timedelta(1),
    "retry_at": None, "fetched": 0, "refused": [], "label": "", "reason": "", "subject": "",
    "cause": "", "counts": True, "recipe": None, "next": None,
}  # fmt: skip


class FakeDatabase:
    """A fake Database that holds the data that the test assigns."""

    def __init__(self):
        self.versions = {}  # package -> {version: {file: hash}}
        self.aliases = {}
        self.summaries = {}
        self.logs = {}
        self.removed_logs = []
        self.notes = {}
        self.quarantined = set()
        self.failed = False
        self.error = None
        self.lock = threading.Lock()

    def close(self):
        pass

    def _check(self):
        if self.error is not None:
            raise self.error

    def get_statistics(self):
        self._check()
        return {"packages_built": 4711, "builds_time": timedelta(hours=1)}

    def get_simple_index(self):
        self._check()
        return sorted(
            name for name, found in self.versions.items()
            if any(found.values()) and name not in self.quarantined
        )  # fmt: skip

    def get_quarantined(self):
        return sorted(self.quarantined)

    def get_recent_builds(self, limit=100):
        return [
            EndedBuild(1, 1, "", name, "1.0", "cp311", True, timedelta(1), 1, NOW)
            for name in self.versions
        ]

    def get_targets(self):
        self._check()
        return []

    def count_reasons(self, since, limit):
        return [ReasonCount("missing-header", "cup.h", 2, 1)]

    def get_activity(self):
        return Activity({"cp311": (3, 1)}, {"2026-11-01": 5})

    def get_simple_project(self, package):
        self._check()
        if package not in self.versions:
            return None
        files = [
            SimpleFile(name, 1, "ab" * 32, ">=3.9", False, "", "cd" * 32, NOW, "cp311", version, [])
            for version, names in self.versions[package].items()
            for name in names
        ]
        return SimpleProject(
            package, self._status(package), "", list(self.versions[package]), files
        )

    def get_fetches(self, builds):
        return {}

    def get_project_data(self, package):
        self._check()
        if package not in self.versions:
            return None
        if package == "odd":
            return {"name": "odd"}
        releases = {
            version: {
                "released": NOW, "yanked": False, "yank_reason": "",
                "yanked_upstream": False, "skip": "",
                "quarantined": False, "requires_python": None, "excluded": [],
                "builds": [BUILD] if self.failed else [],
                "files": {
                    name: {
                        "hash": "ab" * 32, "size": 1, "abi_builder": "cp311", "file_abi": "none",
                        "platform": "any", "requires_python": None, "apt_dependencies": [],
                        "build_id": 1, "installs": None, "imports": None, "trial_why": "",
                        "connects": "", "starts": "",
                    }
                    for name in names
                },
            }
            for version, names in self.versions[package].items()
        }  # fmt: skip
        about = {"name": package, "description": "", "skip": "", "status": self._status(package)}
        about["recipe"] = None
        return {**about, "releases": releases}

    def _status(self, package):
        return "quarantined" if package in self.quarantined else "active"

    def get_package_aliases(self, package):
        return self.aliases.get(package, [])

    def get_search_index(self):
        return {"spam": (1, 2)}

    def set_package_metadata(self, package, summary, needs):
        self.summaries[package] = summary
        return False

    def links_changed(self, package):
        self._check()

    def get_links_pending(self, limit):
        self._check()
        return []

    def get_summaries(self, packages, length):
        return {name: self.summaries[name] for name in packages if self.summaries.get(name)}

    def get_unwritten_logs(self, limit=100):
        self._check()
        with self.lock:
            return list(self.logs.items())[:limit]

    def logs_written(self, build_ids):
        self._check()
        with self.lock:
            for build_id in build_ids:
                self.logs.pop(build_id, None)

    def get_rewrite_note(self, package, command):
        self._check()
        return self.notes.get((package, command))

    def log_waits(self, build_id):
        self._check()
        return build_id in self.logs

    def get_logs_gone(self, limit=1000):
        self._check()
        return self.removed_logs[:limit]

    def logs_removed(self, build_ids):
        self.removed_logs = [each for each in self.removed_logs if each not in build_ids]


@pytest.fixture
def fake_db():
    fake_db = FakeDatabase()
    fake_db.versions["spam"] = {
        "1.0": ["spam-1.0-py3-none-any.whl"],
        "1.1": ["spam-1.1-py3-none-any.whl"],
    }
    return fake_db


@pytest.fixture
def config(make_config, tmp_path):
    return make_config(output_path=tmp_path / "www", dev_mode=True)


@pytest.fixture
def start(config):
    """Return a function that starts the task with a fake database and returns its client."""
    started = []

    def start(fake_db, config=config):
        task = TheScribe(config)
        task.db = fake_db
        client = Connected(config, "scribe")
        started.append((task, client))
        task.start()
        return client

    yield start
    for task, client in started:
        task.quit()
        task.join(patience(10))
        client.close()
        assert task.failure is None
        assert not task.is_alive()


@pytest.fixture
def scribe(start, fake_db):
    return start(fake_db)


@pytest.fixture
def site(config):
    return config.output_path


def write_wheels(site, *names):
    for name in names:
        for suffix in ("", ".metadata"):
            path = site / "simple" / name.split("-", maxsplit=1)[0] / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")


def root_projects(site):
    path = site / "simple" / "index.v1_json"
    if not path.exists():
        return None
    return [each["name"] for each in json.loads(path.read_bytes())["projects"]]


def test_a_new_site_gets_its_general_pages(scribe, fake_db, site):
    until(lambda: root_projects(site) == ["spam"])
    until((site / "simple/index.v1_html").exists)
    until((site / "stats.html").exists)
    assert b"4,711" in (site / "index.html").read_bytes()
    assert (site / "404.html").exists()
    assert (site / "style.css").exists()


def test_both_writes_all_pages_of_a_package(scribe, fake_db, site):
    fake_db.aliases["spam"] = ["Spam", "../../evil", "spam"]
    scribe.call(RewritePages("BOTH", "Spam"))
    folder = site / "simple/spam"
    assert len(json.loads((folder / "index.v1_json").read_bytes())["files"]) == 2
    assert (folder / "index.html").read_bytes() == (folder / "index.v1_html").read_bytes()
    assert (site / "project/spam/index.html").exists()
    assert (site / "project/spam/badge.svg").read_bytes().startswith(b"<svg ")
    assert (site / "project/spam/feed.atom").read_bytes().endswith(b"</feed>\n")
    assert json.loads((site / "project/spam/json/index.json").read_bytes())["name"] == "spam"
    assert os.readlink(site / "project/Spam") == "spam"  # noqa: PTH115
    assert not (site.parent / "evil").exists()


@pytest.mark.parametrize(
    ("request_", "note"),
    [
        (RewritePages("PROJECT", "Spam"), 1),
        (RewritePages("BOTH", "spam"), 2),
        (DeleteVersion("spam", "1"), 2),
        (RewritePages("BOTH", "x"), None),
    ],
)
def test_the_answer_is_the_note_from_before_the_rewrite(scribe, fake_db, request_, note):
    fake_db.notes = {("spam", "PROJECT"): 1, ("spam", "BOTH"): 2}
    get_project_data = fake_db.get_project_data

    def read(package):
        fake_db.notes.clear()
        return get_project_data(package)

    fake_db.get_project_data = read
    assert scribe.call(request_) == note


def test_project_writes_only_the_project_page(scribe, site):
    scribe.call(RewritePages("PROJECT", "spam"))
    assert (site / "project/spam/index.html").exists()
    assert not (site / "simple/spam").exists()


def test_the_root_page_lists_the_current_projects(scribe, fake_db, site):
    until(lambda: root_projects(site) == ["spam"])
    fake_db.versions["eggs"] = {"1.0": ["eggs-1.0-py3-none-any.whl"]}
    scribe.call(RewritePages("BOTH", "eggs"))
    until(lambda: root_projects(site) == ["eggs", "spam"])
    fake_db.versions["spam"] = {}
    scribe.call(RewritePages("BOTH", "spam"))
    until(lambda: root_projects(site) == ["eggs"])


def test_unchanged_pages_are_not_written(scribe, site):
    scribe.call(RewritePages("BOTH", "spam"))
    before = {path: path.stat().st_ino for path in site.rglob("spam/**/*.*")}
    scribe.call(RewritePages("BOTH", "spam"))
    assert {path: path.stat().st_ino for path in site.rglob("spam/**/*.*")} == before


def files_of(site, name):
    found = [*(site / "simple" / name).rglob("*"), *(site / "project" / name).rglob("*")]
    return {str(path.relative_to(site)) for path in found if path.is_file()}


def test_a_new_file_of_a_project_has_a_new_layout(scribe, site):
    scribe.call(RewritePages("BOTH", "spam"))
    names = {name for name in files_of(site, "spam") if not name.endswith(".gz")}
    assert (LAYOUT, names) == (4, {
        "simple/spam/index.v1_json", "simple/spam/index.html", "simple/spam/index.v1_html",
        "project/spam/json/index.json", "project/spam/badge.svg", "project/spam/feed.atom",
        "project/spam/index.html",
    }), "for a new file, raise LAYOUT in piwheels/core/site.py, then correct this"  # fmt: skip


def test_after_an_upgrade_the_pages_of_all_projects_are_written_again(start, fake_db, site, config):
    fake_db.versions["ham"] = fake_db.versions["spam"]
    for name in ("ham", "spam", "eggs"):
        (site / "project" / name).mkdir(parents=True)
    # The database does not know it, and could be another one: its files stay.
    write_wheels(site, "eggs-1.0-py3-none-any.whl")
    start(fake_db)
    note = config.work_path / "layout"
    until(lambda: note.exists() and note.read_text() == f"{LAYOUT}\n")
    for name in ("ham", "spam"):
        assert f"project/{name}/badge.svg" in files_of(site, name)
        assert f"simple/{name}/index.html" in files_of(site, name)
    assert (site / "simple/eggs/eggs-1.0-py3-none-any.whl").exists()


def test_pages_of_an_unknown_package_are_removed(scribe, fake_db, site):
    scribe.call(RewritePages("BOTH", "spam"))
    write_wheels(site, "spam-1.0-py3-none-any.whl")
    del fake_db.versions["spam"]
    scribe.call(RewritePages("BOTH", "spam"))
    assert not (site / "simple/spam").exists()
    assert not (site / "project/spam").exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_package_is_removed_with_its_files_and_aliases(scribe, fake_db, site, known):
    fake_db.aliases["spam"] = ["Spam"]
    scribe.call(RewritePages("BOTH", "spam"))
    write_wheels(site, "spam-1.0-py3-none-any.whl", "spamalot-1.0-py3-none-any.whl")
    if known:
        fake_db.versions["spam"] = {"1.0": []}  # only its builds are removed
    else:
        del fake_db.versions["spam"]
    scribe.call(DeletePackage("spam"))
    assert not (site / "simple/spam").exists()
    pages = {path.name for path in (site / "project").iterdir()}
    assert pages == ({"spam", "Spam"} if known else set())
    if known:
        assert b".whl" not in (site / "project/spam/index.html").read_bytes()
    assert (site / "simple/spamalot/spamalot-1.0-py3-none-any.whl").exists()
    until(lambda: root_projects(site) == [])


@pytest.mark.parametrize("known", [True, False])
def test_a_version_is_removed_and_the_others_remain(scribe, fake_db, site, known):
    scribe.call(RewritePages("BOTH", "spam"))
    names = ["spam-1.0-py3-none-any.whl", "spam-1.0.0-cp311-cp311-linux_armv7l.whl"]
    write_wheels(site, *names, "spam-1.1-py3-none-any.whl")
    if not known:
        del fake_db.versions["spam"]["1.0"]
    scribe.call(DeleteVersion("spam", "1.0"))
    folder = site / "simple/spam"
    assert sorted(path.name for path in folder.iterdir() if ".whl" in path.name) == [
        "spam-1.1-py3-none-any.whl",
        "spam-1.1-py3-none-any.whl.metadata",
    ]
    files = json.loads((folder / "index.v1_json").read_bytes())["files"]
    assert [each["filename"] for each in files] == ["spam-1.1-py3-none-any.whl"]


def test_the_index_page_is_removed_with_the_last_version(scribe, fake_db, site):
    scribe.call(RewritePages("BOTH", "spam"))
    fake_db.versions["spam"] = {"1.0": fake_db.versions["spam"]["1.0"]}
    write_wheels(site, "spam-1.0-py3-none-any.whl")
    scribe.call(DeleteVersion("spam", "1.0"))
    assert list((site / "simple/spam").iterdir()) == []
    until(lambda: root_projects(site) == [])


def test_a_log_is_written_and_the_database_updated(scribe, fake_db, site):
    fake_db.logs = {123456789: "built\n"}
    scribe.call(WriteLog(123456789, "built\n"))
    path = site / "logs/0001/2345/6789.txt.gz"
    assert gzip.decompress(path.read_bytes()) == b"built\n"
    until(lambda: not fake_db.logs)


def test_the_log_of_a_removed_build_is_not_written(scribe, site):
    scribe.call(WriteLog(5, "built\n"))
    assert not (site / "logs").exists()


def test_logs_of_removed_builds_are_removed(start, fake_db, site):
    folder = site / "logs/0000/0000"
    folder.mkdir(parents=True)
    for number in (1, 2, 1200):
        (folder / f"{number:04d}.txt.gz").write_bytes(b"x")
    fake_db.removed_logs = [1, *range(3, 1300)]
    client = start(fake_db)
    until(lambda: not fake_db.removed_logs)
    assert [path.name for path in folder.iterdir()] == ["0002.txt.gz"]
    fake_db.removed_logs = [2]
    client.call(DeleteVersion("spam", "1.0"))
    until(lambda: not list(folder.iterdir()))


def test_a_log_folder_outside_the_site_does_not_end_the_task(start, fake_db, site, tmp_path):
    site.mkdir()
    (site / "logs").symlink_to(tmp_path)
    fake_db.logs, fake_db.removed_logs = {1: "built"}, [2]
    client = start(fake_db)
    client.call(RewritePages("BOTH", "spam"))
    assert fake_db.logs
    assert fake_db.removed_logs


def test_logs_that_a_crash_interrupted_are_written_at_start(start, fake_db, site):
    fake_db.logs = {number: f"log {number}" for number in range(120)}
    start(fake_db)
    until(lambda: not fake_db.logs)
    assert len(list((site / "logs").rglob("*.txt.gz"))) == 120


def holds(path, text):
    return path.exists() and text in path.read_bytes()


def search_index(site):
    return json.loads((site / "packages.json").read_bytes())


def test_statistics_and_search_index_are_written(scribe, fake_db, site, monkeypatch):
    scribe.call(WriteHome({"packages_built": 815}))
    until(lambda: holds(site / "index.html", b"815") and holds(site / "stats.html", b"815"))
    fake_db.versions["eggs"] = {"1.0": []}
    scribe.call(RewritePages("BOTH", "spam"))
    scribe.call(RewritePages("PROJECT", "eggs"))
    with monkeypatch.context() as patch:
        patch.setattr(fake_db, "get_search_index", lambda: {"eggs": (3, 4), "no-page": (9, 9)})
        scribe.call(WriteSearch())
    assert search_index(site) == [["eggs", 3, 4], ["spam", 0, 0]]
    assert (
        gzip.decompress((site / "packages.json.gz").read_bytes())
        == (site / "packages.json").read_bytes()
    )
    scribe.call(WriteSearch())
    assert search_index(site) == [["spam", 1, 2], ["eggs", 0, 0]]


def test_summaries_are_in_parts_by_downloads(scribe, fake_db, site, monkeypatch):
    monkeypatch.setattr(site_wide, "SUMMARIES", 1)
    fake_db.versions["eggs"] = {"1.0": []}
    fake_db.summaries = {"spam": "A tin", "eggs": "From hens"}
    fake_db.set_package_metadata = lambda *_: False
    for name in ("eggs", "spam"):
        scribe.call(RewritePages("PROJECT", name))
    until(lambda: holds(site / "summaries2.json", b"eggs"))
    assert json.loads((site / "summaries1.json").read_bytes()) == [["spam", "A tin"]]
    assert b'data-parts="2"' in (site / "packages.html").read_bytes()
    del fake_db.versions["eggs"]
    scribe.call(DeletePackage("eggs"))
    until(lambda: not (site / "summaries2.json").exists())


@pytest.mark.parametrize("what", ["folder", "link", "missing"])
def test_a_project_page_is_written_without_readable_metadata(scribe, fake_db, site, tmp_path, what):
    secret = tmp_path / "secret"
    secret.write_text("Name: spam\nSummary: secret\n\n")
    path = site / "simple/spam/spam-1.1-py3-none-any.whl.metadata"
    path.parent.mkdir(parents=True)
    if what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to(secret)
    fake_db.summaries = {"spam": "as it was"}
    scribe.call(RewritePages("PROJECT", "spam"))
    assert b"secret" not in (site / "project/spam/index.html").read_bytes()
    assert fake_db.summaries == {"spam": "as it was"}


def test_a_damaged_root_page_is_written_again(scribe, site):
    root = site / "simple/index.html"
    scribe.call(RewritePages("BOTH", "spam"))
    until(lambda: holds(root, b"spam"))
    good = root.read_bytes()
    root.write_bytes(good + b"evil")
    scribe.call(WriteRoot())
    until(lambda: root.read_bytes() == good)


def test_a_fault_at_one_site_wide_page_stops_no_other_page(
    start, fake_db, site, monkeypatch, caplog
):
    def fail(self, db):
        raise KeyError("spam")

    fail.__name__ = "_write_root"
    monkeypatch.setattr(Overview, "_write_root", fail)
    monkeypatch.setattr(schedule, "RETRY", 0.1)
    scribe = start(fake_db)
    scribe.call(WriteHome({"packages_built": 815}))
    until(lambda: holds(site / "index.html", b"815"))
    fault = "writing the site-wide pages (root) has failed: KeyError"
    until(lambda: caplog.text.count(fault) > 1)  # and it is tried again


@pytest.mark.parametrize("value", ["x", 5, None, {"cp311": "x"}, [1]])
def test_invalid_statistics_do_not_end_the_task(scribe, site, value):
    names = ("packages_built", "builds_size", "builds_time", "builds_last_hour", "builds_pending")
    with suppress(Refused):
        scribe.call(WriteHome(dict.fromkeys(names, value)))
    scribe.call(RewritePages("PROJECT", "spam"))
    scribe.call(WriteHome({"packages_built": 815}))
    until(lambda: holds(site / "index.html", b"815"))


def projects_by_page(site):
    """Return the projects that each site-wide page names."""
    pages = {
        name: (site / name).read_text()
        for name in (
            "index.html",
            "feed.atom",
            "packages.html",
            "packages.json",
            "stats.html",
            "sitemap1.xml",
        )
        if (site / name).exists()
    }
    return {
        name: {each for each in ("spam", "eggs") if each in text} for name, text in pages.items()
    }


@pytest.mark.parametrize("how", ["deleted", "quarantined"])
def test_a_removed_project_disappears_from_all_site_wide_pages(start, fake_db, site, config, how):
    config = dataclasses.replace(config, site_url="https://wheels.example/pi/")
    fake_db.versions["eggs"] = {"1.0": ["eggs-1.0-py3-none-any.whl"]}
    fake_db.get_search_index = lambda: dict.fromkeys(fake_db.versions, (1, 2))  # some downloads
    client = start(fake_db, config)
    for name in ("spam", "eggs"):
        client.call(RewritePages("BOTH", name))
    until(lambda: len(projects_by_page(site)) == 6)
    client.call(WriteSearch())  # with the downloads of both
    until(lambda: all(names == {"spam", "eggs"} for names in projects_by_page(site).values()))
    assert root_projects(site) == ["eggs", "spam"]
    if how == "deleted":
        del fake_db.versions["eggs"]
        client.call(DeletePackage("eggs"))
    else:
        fake_db.quarantined.add("eggs")
        client.call(RewritePages("BOTH", "eggs"))
        assert b"In quarantine" in (site / "project/eggs/index.html").read_bytes()
        index = json.loads((site / "simple/eggs/index.v1_json").read_bytes())
        assert (index["files"], index["project-status"]) == ([], {"status": "quarantined"})
    until(lambda: root_projects(site) == ["spam"])
    until(lambda: all(names == {"spam"} for names in projects_by_page(site).values()))


def test_existing_pages_are_found_at_start(start, fake_db, site):
    for name in ("spam", "eggs", "shady", "odd name"):
        (site / "project" / name).mkdir(parents=True)
    (site / "project/Spam").symlink_to("spam")
    fake_db.quarantined.add("shady")
    start(fake_db)
    until((site / "packages.json").exists)
    assert search_index(site) == [["spam", 1, 2], ["eggs", 0, 0]]


def test_a_sitemap_lists_existing_pages_and_is_removed_without_a_site_url(
    start, fake_db, config, site
):
    client = start(fake_db, dataclasses.replace(config, site_url="https://wheels.example/pi/"))
    client.call(RewritePages("PROJECT", "spam"))
    until((site / "sitemap.xml").exists)
    until(lambda: b"spam" in (site / "sitemap1.xml").read_bytes())
    assert b"https://wheels.example/pi/project/spam/" in (site / "sitemap1.xml").read_bytes()
    assert b"https://wheels.example/pi/sitemap1.xml" in (site / "sitemap.xml").read_bytes()
    assert b"\nSitemap: https://wheels.example/pi/sitemap.xml" in (site / "robots.txt").read_bytes()
    assert b'href="/pi/simple/"' in (site / "404.html").read_bytes()
    assert (
        b"--index-url <var>https://wheels.example/pi</var>/simple/"
        in (site / "index.html").read_bytes()
    )
    start(fake_db, dataclasses.replace(config, token=f"{config.token}-2"))
    until(lambda: not list(site.glob("sitemap*.xml")))
    assert b"Sitemap" not in (site / "robots.txt").read_bytes()


def test_a_project_page_shows_the_error_at_the_end_of_a_log(scribe, fake_db, site):
    fake_db.failed = True
    fake_db.logs = {7: "cc\n\x1b[31mfatal: <no> tin\x1b[0m\n[end of output]\nnote: pip"}
    scribe.call(WriteLog(7, fake_db.logs[7]))
    scribe.call(RewritePages("PROJECT", "spam"))
    page = (site / "project/spam/index.html").read_text()
    assert "fatal: &lt;no&gt; tin" in page
    assert "note: pip" not in page


def test_the_feeds_show_why_a_build_failed(scribe, fake_db, site):
    until((site / "feed.atom").exists)
    fake_db.versions["spam"] = {"1.1": []}
    failed = EndedBuild(7, 1, "", "spam", "1.1", "cp311", False, timedelta(1), 0, NOW)
    fake_db.get_recent_builds = lambda _: [failed, failed._replace(build_id=8, package="gone")]
    fake_db.failed = True
    fake_db.logs = {7: "out of tin\n"}
    scribe.call(WriteLog(7, "out of tin\n"))
    scribe.call(RewritePages("PROJECT", "spam"))
    for path in ("feed.atom", "project/spam/feed.atom"):
        until(lambda path=site / path: b"<pre>out of tin</pre>" in path.read_bytes())
        [entry] = atom.read((site / path).read_bytes(), f"https://wheels.example/{path}")[1]
        assert entry["title"] == "spam 1.1 failed for cp311"
    # The log is read once.
    (site / entry["related"].removeprefix("https://wheels.example/")).unlink()
    fake_db.get_recent_builds = lambda _: [failed, failed._replace(build_id=6)]
    scribe.call(RewritePages("PROJECT", "spam"))
    until(lambda: (site / "feed.atom").read_bytes().count(b"<entry>") == 2)
    assert b"<pre>out of tin</pre>" in (site / "feed.atom").read_bytes()


def test_the_statistics_count_failures_and_a_fault_at_this_stops_no_page(scribe, fake_db, site):
    until((site / "stats.html").exists)
    assert (
        b'<a href="failures.html#missing-header">missing header</a>'
        in (site / "stats.html").read_bytes()
    )
    asked = []

    def fail(*_):
        asked.append(1)
        raise DatabaseError("too slow")

    fake_db.count_reasons = fail
    until(lambda: (scribe.call(RewritePages("PROJECT", "spam")), asked)[1])
    (site / "stats.html").unlink()
    scribe.call(RewritePages("PROJECT", "spam"))
    until((site / "stats.html").exists)
    assert len(asked) == 1


def test_unchanged_site_wide_pages_are_not_written(scribe, site):
    names = ("index.html", "packages.html", "packages.json", "packages.json.gz", "stats.html")
    scribe.call(RewritePages("BOTH", "spam"))
    until(lambda: all((site / name).exists() for name in names))
    until(lambda: b"spam" in (site / "index.html").read_bytes())
    scribe.call(WriteSearch())
    until(lambda: b"<td>1</td>" in (site / "stats.html").read_bytes())
    before = [(site / name).stat().st_ino for name in names]
    scribe.call(WriteSearch())
    scribe.call(WriteHome({}))
    scribe.call(RewritePages("BOTH", "spam"))
    assert [(site / name).stat().st_ino for name in names] == before


@pytest.mark.parametrize(
    "frame",
    [
        RewritePages("PROJECT", "odd").frame(),
        WriteLog(10**15, "no such number").frame(),
        codec.dumps("RewritePages", ["PROJECT", "../x"]),
        codec.dumps("RewritePages", ["BOTH", 1]),
        codec.dumps("WriteLog", [-1, ""]),
        codec.dumps("DeleteVersion", ["spam"]),
        codec.dumps("NONSENSE"),
    ],
)
def test_an_invalid_request_is_answered_and_the_task_continues(scribe, fake_db, site, frame):
    fake_db.versions["odd"] = {}
    fake_db.log_waits = lambda _: True
    bad = WriteSearch()
    object.__setattr__(bad, "frame", lambda: frame)
    with pytest.raises(Refused):
        scribe.call(bad)
    scribe.call(RewritePages("BOTH", "spam"))


def test_a_write_error_is_answered(scribe, site):
    (site / "project").parent.mkdir(parents=True, exist_ok=True)
    until((site / "404.html").exists)
    (site / "project").write_bytes(b"in the way")
    with pytest.raises(Refused):
        scribe.call(RewritePages("PROJECT", "spam"))
    (site / "project").unlink()
    scribe.call(RewritePages("PROJECT", "spam"))


def test_without_a_database_pages_are_written_later(start, fake_db, site):
    fake_db.error = DatabaseError("away")
    client = start(fake_db)
    with pytest.raises(DatabaseError, match="away"):
        client.call(RewritePages("BOTH", "spam"))
    with pytest.raises(DatabaseError, match="away"):
        client.call(WriteLog(1, "text"))
    assert root_projects(site) is None
    fake_db.error = None
    client.call(RewritePages("BOTH", "spam"))
    until(lambda: root_projects(site) == ["spam"] and (site / "index.html").exists())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(frames=st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_the_scribe_survives_any_bytes(scribe, config, frames):
    with Context().socket(zmq.DEALER) as hostile:
        hostile.connect(wire("scribe").address(config))
        hostile.send_multipart(frames)
        scribe.call(RewritePages("PROJECT", "spam"))


def test_a_bug_at_one_package_is_answered(scribe, fake_db, monkeypatch):
    for error in (RuntimeError("a bug"), AttributeError("a bug"), AssertionError("a bug")):
        fake_db.error = error
        with pytest.raises(Refused, match="a bug"):
            scribe.call(RewritePages("BOTH", "spam"))
    fake_db.error = None
    scribe.call(RewritePages("BOTH", "spam"))
