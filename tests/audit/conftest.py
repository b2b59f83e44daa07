"""A whole farm, made once by the master's tasks, and copied for each test."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from database_copies import Copies
from helpers import until
from piwheels.audit import app
from piwheels.audit.__main__ import main
from piwheels.core.database.audit import AuditDatabase
from piwheels.core.database.dsn import administer, database_of, redirect
from piwheels.core.paths import DAEMON
from piwheels.core.site import work_path
from piwheels.core.states import BuildState, DownloadState, FileState
from piwheels.master.site.files import Site
from scribes import listed, scribes
from wheels import zip_wheel

NATIVE = "spam-1.0-cp311-cp311-linux_x86_64.whl"
PURE = "spam-2.0-py3-none-any.whl"
EGGS = "eggs-1.0-py3-none-any.whl"
HELD = "held-1.0-py3-none-any.whl"


def make_wheel(filename):
    name, version = filename.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    tag = "-".join(filename.removesuffix(".whl").split("-")[2:])
    about = {f"{info}/METADATA": metadata, f"{info}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n"}
    return zip_wheel({f"{name}.py": "x = 1\n" * 1000, **about}, info), metadata.encode()


def publish(site, db, filename, requires_python=None):
    """Publish like FileJuggler and SlaveDriver: first the files, then the row in the database."""
    data, metadata = make_wheel(filename)
    name, version, py, abi, platform = filename.removesuffix(".whl").split("-")
    tmp = site.temporary()
    tmp.write_bytes(data)
    site.publish(tmp, name, filename, metadata)
    state = FileState(
        filename, len(data), sha256(data).hexdigest(), name, version, py, abi, platform,
        requires_python, {}, metadata_hash=sha256(metadata).hexdigest(),
    )  # fmt: skip
    ended = True, timedelta(seconds=7), f"built {name}"
    return db.log_build(BuildState(1, name, version, "cp311", *ended, {filename: state}))


def furnish(output_path, dsn):
    """Make a farm with one of everything, its pages written by TheScribe."""
    site = Site(output_path, work_path(output_path))
    site.lock()
    with AuditDatabase(dsn) as db:
        db.add_build_abi("cp311")
        for package, version in (
            ("spam", "1.0"), ("spam", "2.0"), ("spam", "3.0"), ("eggs", "1.0"), ("failing", "1.0"),
            ("held", "1.0"), ("quiet", "1.0"), ("gone", "1.0"),
        ):  # fmt: skip
            db.add_new_package(package)
            db.add_new_package_version(package, version)
        db.add_package_name("spam", "Spam")
        publish(site, db, NATIVE)
        publish(site, db, PURE)
        publish(site, db, EGGS, ">=3.9")
        publish(site, db, HELD)
        failed = False, timedelta(seconds=3), "it failed"
        db.log_build(BuildState(1, "failing", "1.0", "cp311", *failed, {}))
        db.yank_version("spam", "2.0", "bad")
        db.skip_package("gone", "deleted")
        db.set_package_status("held", "quarantined")
        now = datetime.now(UTC)
        for name in (EGGS, EGGS, "unknown.whl"):
            db.log_download(DownloadState(name, "host", now, *[None] * 10))
        with scribes(site.root, dsn):
            root = site.root / "simple/index.v1_json"
            until(lambda: not db.load_rewrites_pending() and not db.get_unwritten_logs())
            until(lambda: listed(root) == ["eggs", "spam"])
            until(
                lambda: all((site.root / name).exists() for name in ("index.html", "packages.json"))
            )
    site.close()


@dataclass
class Farm:
    """The farm of one test: its site, its database, and the findings of an audit."""

    site: Path
    dsn: str
    superuser: str
    capsys: pytest.CaptureFixture

    def audit(self, *options, status=None):
        """Return the findings, as (kind, path)."""
        self.capsys.readouterr()
        args = ["--dsn", self.dsn, "-o", str(self.site), "--json", *options]
        code = main(args)
        said = self.capsys.readouterr()
        self.said = said.err
        assert "Traceback" not in said.err
        lines = [json.loads(line) for line in said.out.splitlines()]
        found = [line for line in lines if "kind" in line]
        assert code == (bool(found) if status is None else status), said.err
        self.why = {each.get("path", ""): each["why"] for each in found}
        self.package = {each.get("path", ""): each.get("package", "") for each in found}
        pairs = [(each["kind"], each.get("path", "")) for each in found]
        assert len(pairs) == len({*map(json.dumps, found)}), "reported twice"
        return set(pairs)

    def sql(self, statement, *, triggers=True):
        """Run a statement that an operator should not run."""
        role = "origin" if triggers else "replica"
        administer(self.superuser, f"SET session_replication_role = {role}; {statement}")

    @contextmanager
    def db(self):
        with AuditDatabase(self.dsn) as db:
            yield db

    @property
    def work(self):
        return self.site.with_name(f".{self.site.name}.work")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(app, "RECHECK", 0.02)


@pytest.fixture(scope="session")
def healthy(server_dsn, template_db, short_dir):
    name = f"piw_healthy_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    template = database_of(template_db)
    administer(server_dsn, "CREATE DATABASE {} TEMPLATE {}", names=[name, template])
    dsn = redirect(server_dsn, name)
    root = short_dir / "healthy"
    furnish(root / "www", redirect(dsn, name, DAEMON))
    yield root, name
    shutil.rmtree(root)
    administer(server_dsn, "DROP DATABASE {} WITH (FORCE)", names=[name])


@pytest.fixture
def rewrite():
    """Start a master, and wait until it has written all pending pages."""

    def start(farm):
        root = farm.site / "simple/index.v1_json"
        with farm.db() as db:
            names = db.get_simple_index()
            pages = [
                farm.site / each
                for each in ("index.html", "feed.atom", "simple/index.html", "packages.json")
            ]

            def whole():
                return all(page.exists() for page in pages) and listed(root) == names

            if whole() and not db.load_rewrites_pending():
                return
            with scribes(farm.site, farm.dsn):
                until(lambda: not db.load_rewrites_pending() and not db.get_logs_gone())
                until(whole)

    return start


@pytest.fixture(scope="session")
def _healthy_copies(healthy, server_dsn):
    copies = Copies(server_dsn, redirect(server_dsn, healthy[1]))
    yield copies
    copies.close()


@contextmanager
def _farm(healthy, dsn, short_dir, capsys):
    with tempfile.TemporaryDirectory(dir=short_dir) as parent:
        folder = Path(parent, "farm")
        shutil.copytree(healthy[0], folder, symlinks=True)
        yield Farm(folder / "www", redirect(dsn, database_of(dsn), DAEMON), dsn, capsys)


@pytest.fixture
def farm(healthy, _healthy_copies, short_dir, capsys):
    with _healthy_copies.one() as dsn, _farm(healthy, dsn, short_dir, capsys) as made:
        yield made


@pytest.fixture(scope="module")
def _shared(_healthy_copies):
    with _healthy_copies.one() as dsn:
        yield dsn


@pytest.fixture
def site_farm(healthy, _shared, short_dir, capsys):
    """A farm with its own site; tests that make no lasting changes share its database."""
    with _farm(healthy, _shared, short_dir, capsys) as made:
        yield made
