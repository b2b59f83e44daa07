"""Hostile folder trees, running farms, and repairs that are declined."""

import fcntl
import io
import json
import os
import shutil
import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import patience
from piwheels.audit import app, reading
from piwheels.audit.__main__ import main
from piwheels.audit.tree import Tree
from piwheels.core import codec

EGGS = "simple/eggs/eggs-1.0-py3-none-any.whl"
PURE_METADATA = "simple/spam/spam-2.0-py3-none-any.whl.metadata"
LOG = "logs/0000/0000/0001.txt.gz"
PLACES = (
    EGGS, PURE_METADATA, "simple/eggs/x", "simple/eggs/index.v1_json", "simple/x", LOG,
    "logs/0000/0000/x", "logs/x", "project/x", "project/eggs/index.html", "project/Spam",
    "simple/index.html", "index.html", "404.html", "packages.json", "style.css", "x",
    "../.www.work/x",
)  # fmt: skip


def in_place_of(path, make):
    path.unlink(missing_ok=True)
    make(path)


def bind(path):
    with socket.socket(socket.AF_UNIX) as bound:
        # (a socket's path must be short)
        handle = os.open(path.parent, os.O_PATH)
        bound.bind(f"/proc/self/fd/{handle}/{path.name}")
        os.close(handle)


@pytest.mark.parametrize(
    "make", [os.mkfifo, bind, Path.mkdir, lambda path: path.symlink_to(path.name)],
    ids=["pipes", "sockets", "folders", "loops"],
)  # fmt: skip
def test_special_files_are_found_and_never_opened(farm, make):
    for place in PLACES:
        in_place_of(farm.site / place, make)
    shutil.rmtree(farm.site / "project/spam")
    in_place_of(farm.site / "project/spam", make)
    found = {path.removeprefix("./") for _, path in farm.audit()}
    assert {place for place in PLACES if place not in found} == set()
    quarantine = farm.site.parent / "q"
    farm.audit("--repair", "--yes", f"--quarantine-dir={quarantine}")
    for place in ("x", "simple/x", "logs/x", "work/x"):
        moved = quarantine / place.replace("work", ".www.work")
        assert moved.is_symlink() or moved.exists()


@pytest.mark.parametrize("folder", ["simple", "project", "logs", "simple/eggs", "project/eggs"])
def test_a_folder_link_out_of_the_site_is_not_followed(site_farm, folder):
    shutil.rmtree(site_farm.site / folder)
    (site_farm.site / folder).symlink_to("/")
    kinds = {path: kind for kind, path in site_farm.audit()}
    assert kinds[folder] == "link-outside"
    assert not any("/etc" in path for path in kinds)


def test_a_foreign_folder_can_have_any_depth(site_farm):
    handle = os.open(site_farm.site / "simple", os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    assert site_farm.audit() == {("foreign", "simple/d")}
    (site_farm.site / "simple/d").rename(site_farm.site.parent / "d")
    while (site_farm.site.parent / "d/d").exists():  # too deep for rmtree
        (site_farm.site.parent / "d/d").rename(site_farm.site.parent / "e")
        (site_farm.site.parent / "d").rmdir()
        (site_farm.site.parent / "e").rename(site_farm.site.parent / "d")


def test_a_thousand_foreign_names(site_farm):
    names = {os.fsdecode(bytes([i, j])) for i in (1, 10, 27, 128, 255) for j in range(1, 255)}
    names = {name for name in names if "/" not in name}
    for name in names:
        (site_farm.site / "simple" / name).touch()
    assert site_farm.audit("files") == {("foreign", f"simple/{name}") for name in names}


@contextmanager
def nobody():
    """Become an ordinary user, if the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unreadable_files_are_reported(site_farm, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    with tempfile.TemporaryDirectory(prefix="piw-audit-") as name:
        Path(name).chmod(0o755)
        site_farm.site = shutil.copytree(site_farm.site, Path(name, "www"), symlinks=True)
        for place in (EGGS, "simple/spam", "project/spam/json", LOG, "logs/0000/0000", "simple"):
            (site_farm.site / place).chmod(0o600 if (site_farm.site / place).is_file() else 0o700)
        if os.geteuid():
            for place in (EGGS, "simple/spam", "simple"):
                (site_farm.site / place).chmod(0)
        (site_farm.site / "simple").chmod(0o311)  # can be entered, but not listed
        with nobody():
            found = site_farm.audit(status=1)
        assert ("unreadable", "simple/spam") in found
        assert ("mode", EGGS) in found
        assert ("unreadable", EGGS) in found
        assert ("unreadable", "simple") in found
        (site_farm.site / "simple").chmod(0o755)


# A running farm -----------------------------------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch):
    """Make something happen between the two checks."""

    def have(happen):
        monkeypatch.setattr(app.time, "sleep", lambda _: happen())

    return have


def test_a_difference_that_disappears_is_not_reported(site_farm, meanwhile):
    (site_farm.site / EGGS).rename(site_farm.site / "../kept")
    (site_farm.site / "simple/new").mkdir()
    (site_farm.site / "simple/index.html").rename(site_farm.site / "../root")

    def happen():
        for path, back in (("../kept", EGGS), ("../root", "simple/index.html")):
            if (site_farm.site / path).exists():
                (site_farm.site / path).rename(site_farm.site / back)
        shutil.rmtree(site_farm.site / "simple/new", ignore_errors=True)

    meanwhile(happen)
    assert site_farm.audit() == set()


def test_a_file_that_vanishes_while_it_is_read(site_farm, monkeypatch):
    digest = Tree.digest

    def vanish(self, path, on_bytes):
        if path == EGGS and (site_farm.site / EGGS).exists():
            (site_farm.site / EGGS).unlink()
        return digest(self, path, on_bytes)

    monkeypatch.setattr(Tree, "digest", vanish)
    assert site_farm.audit() == set(), "once unreadable, once missing"
    assert site_farm.audit() == {("missing-file", EGGS)}


def test_a_file_just_published_is_not_foreign(farm):
    sent = farm.site / "simple/spam/spam-3.0-cp311-cp311-linux_x86_64.whl"
    sent.touch()
    assert farm.audit() == {("foreign", f"simple/spam/{sent.name}")}
    values = "'spam', '3.0', 'cp311', 'x', now(), now() + interval '1 hour', '', 'any'"
    farm.sql(f"INSERT INTO leases VALUES ({values})")  # noqa: S608
    assert farm.audit() == set()


@contextmanager
def locked(farm):
    with (farm.work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_new_files_have_a_grace_period_while_a_master_runs(site_farm, monkeypatch):
    young = site_farm.site / "simple/spam/spam-9.0-py3-none-any.whl"
    young.touch()
    (site_farm.work / "tmp123").touch()
    assert len(site_farm.audit()) == 2
    with locked(site_farm):
        assert site_farm.audit() == set()
        monkeypatch.setattr("piwheels.audit.packages.YOUNG", 0)
        os.utime(site_farm.work / "tmp123", (0, 0))  # the master's own, whatever the clock says
        assert site_farm.audit() == {("foreign", f"simple/spam/{young.name}")}


def test_the_root_index_may_be_a_minute_old_while_a_master_runs(site_farm, meanwhile):
    page = site_farm.site / "simple/index.v1_json"
    old = page.read_bytes()
    page.write_bytes(old.replace(b'{"name":"eggs"},', b""))
    looks = []
    meanwhile(lambda: looks.append(1) or len(looks) < 5 or page.write_bytes(old))
    with locked(site_farm):
        assert site_farm.audit("index") == set()
    assert len(looks) == 5


def test_a_busy_database_is_consistent_at_every_moment(farm):
    end = threading.Event()

    def work():
        with farm.db() as db:
            number = 0
            while not end.is_set():
                number += 1
                db.add_new_package_version("spam", f"{number + 10}.0")
                if number % 3 == 0:
                    db.delete_version("spam", f"{number + 9}.0")
                if number % 5 == 0:
                    db.skip_package("eggs", "x" if number % 2 else "")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with farm.db() as db:
            for _ in range(20):
                assert db.audit_derived(10) == []
            db.refresh_derived()
            assert db.audit_derived(10) == []
    finally:
        end.set()
        thread.join(patience(10))


# Pages of any bytes -------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.binary() | st.text().map(str.encode), size=st.integers(1, 9))
def test_any_bytes_are_read_or_refused(data, size):
    for read in (
        lambda file: reading.elements(file, '"projects":[', "}"),
        lambda file: reading.elements(file, "[", ""),
        reading.links,
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "_CHUNK", size)
            with suppress(ValueError):
                list(read(io.BytesIO(data)))


VALUES = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=60)
@given(
    values=st.lists(st.text() | st.lists(VALUES, max_size=3), max_size=5),
    size=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
    share=st.floats(0, 1, exclude_max=True),
)
def test_a_list_is_parsed_alike_in_pieces_of_any_size(values, size, indent, share):
    data = json.dumps(values, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK", size)
        assert list(reading.elements(io.BytesIO(data), "[", "")) == values
        with pytest.raises(ValueError, match=r"."):
            list(reading.elements(io.BytesIO(data[: int(len(data) * share)]), "[", ""))


# Repairs ------------------------------------------------------------------------------------------


def test_nothing_is_changed_without_consent(farm, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    (farm.site / EGGS).unlink()
    (farm.site / "x").touch()
    (farm.site / "simple/spam/index.html").unlink()
    farm.sql("DELETE FROM published WHERE package = 'spam'")
    found = farm.audit()
    assert len(found) == 7, found
    where = f"--quarantine-dir={farm.site.parent / 'q'}"
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert farm.audit("--repair", where, status=1) == found
    assert "give --yes" in farm.said
    monkeypatch.setattr("sys.stdin", Terminal("n\n" * 9))
    assert farm.audit("--repair", where) == found
    assert farm.said.count("Continue?") == 4
    assert farm.audit() == found
    monkeypatch.setattr("sys.stdin", Terminal("y\n" * 9))
    assert farm.audit("--repair", where) == found
    assert farm.audit("files", "database") == set()


def test_nothing_is_moved_without_a_quarantine_folder(farm):
    (farm.site / EGGS).unlink()
    (farm.site / "x").touch()
    found = farm.audit("--repair", "--yes")
    assert farm.said.count("set --quarantine-dir") == 2
    assert farm.audit() == found


@pytest.mark.parametrize("folder", ["www/q", "www", "www/simple", "other device", "/proc/q"])
def test_an_unsuitable_quarantine_folder_is_refused(site_farm, folder):
    (site_farm.site / "x").touch()
    where = site_farm.site.parent / folder
    if folder == "other device":
        device, places = site_farm.site.stat().st_dev, map(Path, ("/tmp", "/dev/shm"))
        where = next(place for place in places if place.stat().st_dev != device)
    assert site_farm.audit("--repair", "--yes", f"--quarantine-dir={where}", status=1) == set()
    assert site_farm.said.startswith("piw-audit: ")
    assert "choose another --quarantine-dir" in site_farm.said
    assert (site_farm.site / "x").exists()
    assert not (site_farm.site / "q").exists()


def test_a_running_master_is_notified(farm):
    (farm.site / "simple/spam/index.html").unlink()
    (farm.site / "index.html").unlink()
    with tempfile.TemporaryDirectory(prefix="piw-a-") as name:
        asked, heard = [], threading.Event()

        def answer():
            with zmq.Context.instance().socket(zmq.REP) as mr_chase:
                mr_chase.rcvtimeo = 20_000
                mr_chase.bind(f"ipc://{name}/import")
                for _ in range(3):
                    asked.append(codec.loads(mr_chase.recv()))
                    mr_chase.send(codec.dumps("DONE", "REBUILD"))
                heard.wait(patience(20))  # what is not read yet goes with the socket

        thread = threading.Thread(target=answer)
        thread.start()
        with locked(farm), pytest.MonkeyPatch.context() as patch:
            patch.setattr(app, "ROOT_RECHECK", 0.1)
            farm.audit("--repair", "--yes", f"--import-queue=ipc://{name}/import")
        heard.set()
        thread.join(patience(20))
    assert asked == [("REBUILD", ["BOTH", "spam"]), ("REBUILD", ["HOME"]), ("REBUILD", ["SEARCH"])]
    assert "the master rewrites the pages of 1 packages and the root" in farm.said


# Refusals ----------------------------------------------------------------------------------


def test_refusals_are_sentences(site_farm, tmp_path):
    for options, sentence in (
        (("-p", "nosuch", "-p", "spam"), "no package nosuch"),
        (("-o", str(tmp_path / "nowhere")), "--output-path"),
        (("--dsn", "postgresql:///x?host=/nonexistent"), "--dsn"),
        (("--dsn", "mysql://x/y"), "PostgreSQL"),
    ):
        assert site_farm.audit(*options, status=1) == set()
        assert sentence in site_farm.said
        assert site_farm.said.count("\n") == 1
    with pytest.raises(SystemExit) as info:
        site_farm.audit("pages")
    assert info.value.code == 2


def test_the_text_report(farm):
    (farm.site / "simple/spam/a\x1b[2Jb\n").touch()
    farm.capsys.readouterr()
    code = main(["--dsn", farm.dsn, "-o", str(farm.site), "-q"])
    lines = farm.capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[0] == (
        r"foreign simple/spam/a\x1b[2Jb\n: is a file: the database has no such file"
    )
    assert lines[1].startswith("files, logs, index, database: 1 findings in ")
    assert lines[2] == "  1 foreign: move it out of the site"
    farm.sql("DELETE FROM build_queue WHERE package = 'spam'")
    assert main(["--dsn", farm.dsn, "-o", str(farm.site), "-q", "database"]) == 1
    assert farm.capsys.readouterr().out.startswith("wrong-queue spam 3.0: ")
