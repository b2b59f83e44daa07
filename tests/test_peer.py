"""piw-initdb --from-peer imports a farm of the existing implementation, whatever its rows are."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import psycopg2
import pytest

import peer_farm
from piwheels import initdb
from piwheels.audit import app
from piwheels.audit.__main__ import main as audit
from piwheels.core.database import Database, sql_files
from piwheels.core.database.dsn import administer, database_of, redirect
from piwheels.core.errors import Fatal
from piwheels.core.paths import DAEMON
from scribes import write_pages

NUMBERS = itertools.count(1)


@pytest.fixture
def new_database(server_dsn, template_db):
    """Make empty databases; return the superuser's address of one."""
    made = []

    def make():
        name = f"piw_peer_{os.getpid()}_{next(NUMBERS)}"
        administer(
            server_dsn, "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", names=[name]
        )
        made.append(name)
        return redirect(server_dsn, name)

    yield make
    for name in made:
        administer(server_dsn, "DROP DATABASE {} WITH (FORCE)", names=[name])


@pytest.fixture
def peer(new_database, tmp_path):
    """A farm of the existing implementation: the address of its database; its site is ``www``."""
    dsn = new_database()
    peer_farm.fill(dsn, tmp_path / "www")
    return dsn


@pytest.fixture
def run(peer, tmp_path, capsys):
    """Run piw-initdb; return its exit status and what it has said."""

    def start(dsn, *options, source=peer):
        code = initdb.main(
            ["--dsn", dsn, "--user", DAEMON, "--yes", "--from-peer", source,
             "--report", str(tmp_path / "report"), *options]
        )  # fmt: skip
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return start


def daemon(dsn):
    return redirect(dsn, database_of(dsn), DAEMON)


def report(tmp_path):
    """Return the lines of the report: (what, kind, key) and why."""
    lines = (tmp_path / "report").read_text().splitlines()
    return {tuple(parts[:3]): parts[3] for line in lines if (parts := line.split("\t"))}


def findings(dsn, site, capsys, monkeypatch):
    monkeypatch.setattr(app, "RECHECK", 0.02)
    capsys.readouterr()
    audit(["--dsn", daemon(dsn), "-o", str(site), "--json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_import_takes_over_database_and_site(run, new_database, tmp_path, capsys, monkeypatch):
    dsn, site = new_database(), tmp_path / "www"
    code, out, err = run(dsn, "--site", str(site))
    assert code == 0, err
    with Database(daemon(dsn)) as db:
        assert set(db.get_all_packages()) == {"spam", "foo-bar", "cheese-shop", "dull", "empty"}
        assert db.get_pypi_serial() == 12345678
        assert db.get_package_aliases("spam") == ["Spam"]
        assert set(db.get_package_aliases("cheese-shop")) == {"Cheese_Shop", "cheese.shop"}
        assert db.get_version_skip("cheese-shop", "0.5") == "no cheese"
        assert set(db.get_all_build_ids()) == {1, 2, 3, 4, 6, 7, 4_000_000}
        files = {
            name for package in db.get_all_packages() for name in db.get_package_files(package)
        }
        assert files == peer_farm.GOOD
        data = db.get_project_data("foo-bar")
        assert data["description"] == "two lines\ufffdof text\ufffdwith \\ and \ufffd"
        assert db.get_search_index()["spam"] == (0, 3)
        assert db.get_search_index()["foo-bar"] == (1, 1)
        spam = db.get_project_data("spam")["releases"]
        assert set(spam) == {"1.0.0", "2.0", "3.0", "4.0", "5.0"}
        assert spam["2.0"]["yanked"]
        [armv7] = [each for name, each in spam["1.0.0"]["files"].items() if "armv7l" in name]
        assert armv7["apt_dependencies"] == ["libspam1"]
    write_pages(site, daemon(dsn))
    assert findings(dsn, site, capsys, monkeypatch) == []
    for filename in peer_farm.GOOD:
        [path] = site.glob(f"simple/*/{filename}")
        assert path.with_name(f"{filename}.metadata").read_bytes() == peer_farm.wheel(filename)[1]
    assert (
        "Summary: of spam" in (site / "simple/spam/spam-2.0-py3-none-any.whl.metadata").read_text()
    )
    aside = tmp_path / "www.left-out"
    for name in ("simple/spam/notes.txt", "simple/gone", "fonts", "project/Gone", "simple/Foo.Bar"):
        assert os.path.lexists(aside / name), name
    assert "spam: " not in err
