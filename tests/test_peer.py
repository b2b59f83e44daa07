"""piw-initdb --from-peer imports a farm of the existing implementation, whatever its rows are."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from contextlib import closing, suppress

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import peer_farm
from helpers import until
from piwheels import initdb
from piwheels.audit import app
from piwheels.audit.__main__ import main as audit
from piwheels.core.database import Database
from piwheels.core.database.dsn import administer, database_of, redirect
from piwheels.core.errors import Fatal
from piwheels.core.paths import DAEMON
from piwheels.core.text import clean
from piwheels.initdb import peer as peers
from piwheels.initdb import peer_site
from piwheels.initdb.pour import cleaned
from scribes import write_pages

NUMBERS = itertools.count(1)


@pytest.fixture
def new_database(server_dsn, template_db):
    """Make empty databases; return the superuser's address of one."""
    made = []

    def make(encoding="UTF8"):
        name = f"piw_peer_{os.getpid()}_{next(NUMBERS)}"
        administer(
            server_dsn,
            f"CREATE DATABASE {{}} ENCODING '{encoding}' TEMPLATE template0",
            names=[name],
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
    code, _, err = run(dsn, "--site", str(site))
    assert code == 0, err
    with Database(daemon(dsn)) as db:
        assert set(db.get_all_packages()) == {"spam", "foo-bar", "cheese-shop", "dull", "empty"}
        assert db.get_pypi_serial() == 12345678
        assert db.get_watched() == []  # the whole index is followed
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
    assert set(administer(dsn, "SELECT build_id, platform FROM builds WHERE platform <> ''")) == {
        (1, "linux_armv7l"), (3, "linux_armv7l"), (7, "linux_aarch64"),
    }  # fmt: skip
    assert set(administer(dsn, "SELECT platform, abi_tag FROM targets")) == {
        (platform, abi)
        for platform in ("linux_armv7l", "linux_aarch64")
        for abi in ("cp311", "cp34m", "cp39")
    }
    assert administer(dsn, "SELECT abi_tag FROM build_abis WHERE skip = ''") == [("cp311",)]
    write_pages(site, daemon(dsn))
    assert findings(dsn, site, capsys, monkeypatch) == []
    for filename in peer_farm.GOOD:
        [path] = site.glob(f"simple/*/{filename}")
        assert path.with_name(f"{filename}.metadata").read_bytes() == peer_farm.wheel(filename)[1]
    assert (
        "Summary: of spam" in (site / "simple/spam/spam-2.0-py3-none-any.whl.metadata").read_text()
    )
    page = json.loads((site / "project/spam/json/index.json").read_bytes())
    assert page["package"] == "spam"
    assert page["releases"]["2.0"]["files"].keys() == {"spam-2.0-py3-none-any.whl"}
    aside = tmp_path / "www.left-out"
    for name in ("simple/spam/notes.txt", "simple/gone", "fonts", "project/Gone", "simple/Foo.Bar"):
        assert os.path.lexists(aside / name), name


def test_the_report_says_what_was_changed_or_left_out(run, new_database, tmp_path):
    code, out, _ = run(new_database(), "--site", str(tmp_path / "www"), "--json")
    assert code == 0
    tables = {each["table"]: each for each in map(json.loads, out.splitlines()) if "here" in each}
    assert (tables["files"]["there"], tables["files"]["here"]) == (17, 6)
    assert tables["downloads"]["left_out"] == 1
    lines = report(tmp_path)
    why = {key[2]: text for key, text in lines.items() if key[:2] == ("left out", "files")}
    assert set(why) == {*peer_farm.BAD_FILES, "gone-1.0-py3-none-any.whl"}
    for name, words in {
        "spam-1.0-py3-none-any.whl": "build 2 failed",
        "spam-9.0-py3-none-any.whl": "another version, 2.0",
        "eggs-2.0-py3-none-any.whl": "another project, spam",
        "spam-2.0-cp311-cp311-linux_armv7l.whl": "no SHA-256",
        "spam-2.0-cp311-none-any.whl": "no size",
        "spam-2.0.tar.gz": "not the name of a wheel",
        "spam-2.0-py2-none-any.whl": "build 999",
        "spam-4.0-py3-none-any.whl": "the site does not have it",
        "spam-5.0-py3-none-any.whl": "zip",
    }.items():
        assert words in why[name]
    assert lines["left out", "versions", "spam banana"] == "it is not a version (PEP 440)"
    assert lines["left out", "versions", "gone 1.0"] == "its package was left out"
    assert lines["left out", "packages", "gone"] == "it is marked as deleted"
    assert lines["left out", "package_names", "foo_bar"]
    assert lines["left out", "build_abis", "none"]
    assert lines["left out", "dependencies", "brew spam"]
    assert lines["left out", "builds", "9"].endswith("spam 4.0 is built again")
    assert lines["left out", "downloads", "2 rows"] == "without a name or a time"
    assert lines["changed", "packages", "Foo.Bar"] == "is foo-bar here"
    assert lines["changed", "versions", "spam 1.0"] == "is spam 1.0.0 here"
    assert lines["changed", "site", "simple/spam/notes.txt"].endswith("www.left-out")


def test_a_dry_run_changes_nothing(run, new_database, peer, tmp_path):
    dsn, before = new_database(), sorted((tmp_path / "www").rglob("*"))
    code, out, err = run(dsn, "--site", str(tmp_path / "www"), "--dry-run")
    assert code == 0, err
    assert "versions: 16 there, 9 here" in out
    assert "downloads: 7 there" in out
    assert ("left out", "versions", "spam banana") in report(tmp_path)
    assert administer(dsn, "SELECT to_regclass('packages'), to_regnamespace('peer')") == [
        (None,) * 2
    ]
    assert sorted((tmp_path / "www").rglob("*")) == before
    assert initdb.main(["--dsn", dsn, "--user", DAEMON, "--yes"]) == 0
    assert run(dsn, "--dry-run")[0] == 0
    Database(daemon(dsn)).close()  # it is an ordinary, empty database


def test_a_copy_leaves_the_old_site_alone(run, new_database, tmp_path, capsys, monkeypatch):
    old, new, dsn = tmp_path / "www", tmp_path / "new/site", new_database()
    before = {path: path.lstat().st_mtime_ns for path in old.rglob("*")}
    code, _, err = run(dsn, "--site", str(old), "--copy-site", str(new))
    assert code == 0, err
    assert {path: path.lstat().st_mtime_ns for path in old.rglob("*")} == before
    write_pages(new, daemon(dsn))
    assert findings(dsn, new, capsys, monkeypatch) == []
    assert {path.name for path in new.rglob("*.whl")} == peer_farm.GOOD


def rows(dsn):
    """Return what an import has brought, without the times of the import."""
    queries = (
        "SELECT package, skip, description FROM packages",
        "SELECT package, version, skip, yanked FROM versions",
        "SELECT name, package FROM package_names",
        "SELECT build_id, package, version, status, abi_tag FROM builds",
        "SELECT filename, build_id, filehash, metadata_hash FROM files",
        "SELECT * FROM dependencies",
        "SELECT filename, filehash FROM retired_files",
        "SELECT filename, accessed_by, arch FROM downloads",
        "SELECT day, filename, downloads FROM downloads_daily",
        "SELECT package, version FROM build_queue",
        "SELECT package, command FROM rewrites_pending",
        "SELECT build_id FROM build_logs_pending",
        "SELECT counter, key, sum(value) FROM counters GROUP BY 1, 2",
        "SELECT version, pypi_serial FROM configuration",
    )
    return {query: sorted(map(repr, administer(dsn, query))) for query in queries}


class Interruption(RuntimeError):
    """What ends an import in these tests."""


def test_an_interrupted_import_continues(run, new_database, tmp_path, monkeypatch, capsys):
    whole, parts = new_database(), new_database()
    for name in ("a", "b"):
        peer_farm.furnish(tmp_path / name)
    assert run(whole, "--site", str(tmp_path / "a"))[0] == 0
    expected = (tmp_path / "report").read_text().replace(str(tmp_path / "a"), "SITE")
    monkeypatch.setattr(peer_site, "_BATCH", 2)
    done = []

    def step(self, name, work):
        def interrupted():
            result = work()
            if done:
                raise Interruption
            done.append(name)
            return result

        original(self, name, interrupted)

    def set_note(self, step, note):
        set_original(self, step, note)
        if done:
            raise Interruption
        done.append(step)

    original, set_original = peers.Import._step, peer_site.SiteImport._set_note
    monkeypatch.setattr(peers.Import, "_step", step)
    monkeypatch.setattr(peer_site.SiteImport, "_set_note", set_note)
    order = []
    for _ in range(100):
        with suppress(Interruption):
            code, _, err = run(parts, "--site", str(tmp_path / "b"))
            assert code == 0, err
            break
        order += done
        done.clear()
        with pytest.raises(Fatal, match="import into the database has not ended"):
            Database(daemon(parts))
        assert initdb.main(["--dsn", parts, "--user", DAEMON, "--yes"]) == 1
        assert "has not ended: run piw-initdb --from-peer again" in capsys.readouterr().err
    else:
        pytest.fail("it does not end")
    assert {"copy files", "builds", "site", "logs", "downloads 2024-02"} <= set(order)
    assert rows(parts) == rows(whole)
    found = (tmp_path / "report").read_text().replace(str(tmp_path / "b"), "SITE")
    assert found == expected


def test_a_killed_import_continues(run, new_database, peer, tmp_path):
    dsn = new_database()
    command = [sys.executable, "-m", "piwheels.initdb", "--dsn", dsn, "--user", DAEMON, "--yes"]
    options = ["--from-peer", peer, "--report", str(tmp_path / "report")]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "copy builds" in line:
                process.kill()
                break
    # The servers notice the end of their clients
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    for each in (dsn, peer):
        until(
            lambda each=each: (
                administer(redirect(each, "postgres"), query, database_of(each)) == [(0,)]
            )
        )
    code, _, err = run(dsn)
    assert code == 0
    assert "continuing the import" in err
    assert "copy packages" not in err
    with Database(daemon(dsn)) as db:
        assert len(db.get_all_build_ids()) == 9


def test_refusals_are_sentences(run, new_database, peer, tmp_path, capsys):
    dsn, ours = new_database(), new_database()
    assert initdb.main(["--dsn", ours, "--user", DAEMON, "--yes"]) == 0
    site = str(tmp_path / "www")

    def refused(words, *options, target=dsn, source=peer):
        code, _, err = run(target, *options, source=source)
        assert code == 1
        assert words in err
        [line] = [line for line in err.splitlines() if line.startswith("piw-initdb:")]
        assert err.endswith(f"{line}\n")

    refused("check --from-peer", source=redirect(peer, "piw_nosuch"))
    refused("holds no tables of piwheels 0.2x", source=ours)
    refused("holds no tables of piwheels 0.2x", source=dsn)
    refused("another program", target=peer)
    refused("give --site, too", "--copy-site", site)
    with closing(psycopg2.connect(peer)):
        refused("other programs use the database of --from-peer")
        assert run(dsn, "--dry-run")[0] == 0
    with closing(psycopg2.connect(dsn)):
        refused("other programs use the database of --dsn")
    administer(ours, "INSERT INTO packages (package) VALUES ('mine')")
    refused("has packages already", target=ours)
    administer(ours, "UPDATE configuration SET version = '0001+01234567'")
    refused("run piw-initdb without --from-peer first", target=ours)
    administer(ours, "DELETE FROM configuration")
    refused("have no version", target=ours)
    administer(peer, "UPDATE configuration SET version = '0.19'")
    refused("has version 0.19: upgrade it to piwheels 0.23")
    administer(peer, "UPDATE configuration SET version = '0.22.1'")
    administer(peer, "ALTER TABLE files RENAME filehash TO checksum")
    refused("the table files of --from-peer has no column filehash")
    administer(peer, "ALTER TABLE files RENAME checksum TO filehash")
    refused("name another --report", "--report", str(tmp_path))
    refused("has no folder simple: check --site", "--site", str(tmp_path))  # it continues
    other = tmp_path / "other"
    (other / "simple").mkdir(parents=True)
    (other / "logs").symlink_to(tmp_path / "www/logs")
    refused("logs is a link", "--site", str(other))
    (other / "logs").unlink()
    refused("has none of 11 files of the database", "--site", str(other))
    administer(peer, "INSERT INTO packages VALUES ('more')")
    refused("has changed since this import began")
    for option in ("--dry-run", f"--site={site}"):
        assert initdb.main(["--dsn", ours, option]) == 1
        assert "give --from-peer" in capsys.readouterr().err


def test_other_tables_and_columns_are_named(run, new_database, peer):
    administer(peer, "UPDATE configuration SET pypi_serial = 0")
    administer(peer, "DROP TABLE searches, preinstalled_apt_packages")
    administer(peer, "CREATE TABLE extra (n INTEGER)")
    administer(peer, "ALTER TABLE versions DROP yanked")
    administer(peer, "ALTER TABLE builds ADD extra INTEGER")
    administer(peer, "ALTER TABLE builds ALTER built_at TYPE timestamptz")
    dsn = new_database()
    code, _, err = run(dsn)
    assert code == 0
    for words in (
        "there is no table searches", "there is no table preinstalled_apt_packages",
        "the table extra is unknown", "the table versions has no column yanked",
        "the column builds.extra is unknown",
    ):  # fmt: skip
        assert f"{words}: it " in err
    assert administer(dsn, "SELECT bool_or(yanked) FROM versions") == [(False,)]
    # Without the whole index, the versions of each package are followed
    assert administer(dsn, "SELECT count(*) FROM watched WHERE pinned") == [(5,)]


def test_text_without_an_encoding_is_imported(run, new_database):
    old = new_database("SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C")
    peer_farm.fill(old)
    administer(
        old, "UPDATE packages SET description = E'caf\\xe9 \\xc3\\xa9' WHERE package = 'spam'"
    )
    dsn = new_database()
    code, _, err = run(dsn, source=old)
    assert code == 0, err
    found = administer(dsn, "SELECT description FROM packages WHERE package = 'spam'")
    assert found == [("caf\ufffd é",)]


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_copied_text_is_clean(text):
    escapes = {
        "\\": r"\\",
        "\b": r"\b",
        "\f": r"\f",
        "\n": r"\n",
        "\r": r"\r",
        "\t": r"\t",
        "\v": r"\v",
    }

    def escaped(text):
        return "".join(escapes.get(each, each) for each in text).encode()

    assert cleaned(escaped(text)) == escaped(clean(text, len(text)))
