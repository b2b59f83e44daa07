"""Roots are made once, whole or not at all, from the machine's own mirrors."""

import shutil
import threading

import pytest

from helpers import patience
from piwheels.core.architectures import System
from piwheels.core.host import apt
from piwheels.slave.emulation import making
from piwheels.slave.emulation.making import PACKAGES, find_or_make

ARMHF = System("armhf")


def test_a_root_is_made_once(packages, tmp_path):
    cache = tmp_path / "cache"
    root = find_or_make(ARMHF, cache)
    assert root == find_or_make(ARMHF, cache)
    assert root.architecture == "armhf"
    assert [step[0] for step in packages] == ["download", "unpack", "finish"]
    assert {path.name for path in root.path.parent.iterdir()} == {"root", "binfmt"}
    assert (root.path / "usr/bin/cc").readlink().name == "gcc"
    assert (root.path / "etc/passwd").exists()


def test_a_release_has_a_root_of_its_own(packages, tmp_path):
    roots = {find_or_make(System("armhf", name), tmp_path) for name in ("", "bookworm", "trixie")}
    assert {root.path.parent.name.rpartition("-")[0] for root in roots} == {
        "armhf-bookworm", "armhf-trixie",
    }  # fmt: skip
    (*_, last) = (step[2] for step in packages if step[0] == "download")
    assert [line.split()[-2] for line in last] == ["trixie", "trixie-updates", "trixie-security"]


def test_more_packages_need_another_root(packages, tmp_path):
    roots = [find_or_make(ARMHF, tmp_path, "", more) for more in ((), ["x-dev"], ["gcc", "x-dev"])]
    assert len(set(roots)) == 3
    assert find_or_make(ARMHF, tmp_path, "", ["x-dev", "gcc"]) == roots[-1]
    assert [{*step[3]} - {*PACKAGES} for step in packages if step[0] == "download"] == [
        set(), {"x-dev"}, {"gcc", "x-dev"},
    ]  # fmt: skip


@pytest.mark.parametrize(("module", "step"), [(making, "_download"), (apt, "unpack")])
def test_a_failure_leaves_nothing_behind(module, step, packages, tmp_path, monkeypatch):
    def fail(*_):
        raise LookupError("E: no such package")

    with monkeypatch.context() as patch:
        patch.setattr(module, step, fail)
        with pytest.raises(LookupError, match="no such package"):
            find_or_make(ARMHF, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    find_or_make(ARMHF, tmp_path / "cache")


def test_what_a_killed_slave_left_is_removed(packages, tmp_path):
    root = find_or_make(ARMHF, tmp_path)
    place = root.path.parent
    place.rename(f"{place}.new-x")
    find_or_make(ARMHF, tmp_path)
    assert {path.name for path in tmp_path.glob("armhf-*")} == {place.name, f"{place.name}.lock"}


def test_two_slaves_make_one_root(packages, tmp_path, monkeypatch):
    is_making, may_end, found = threading.Event(), threading.Event(), []

    def finish(_root):
        is_making.set()
        assert may_end.wait(patience(30))
        packages.append(("finish",))

    monkeypatch.setattr(making, "_finish", finish)
    threads = [
        threading.Thread(target=lambda: found.append(find_or_make(ARMHF, tmp_path)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert is_making.wait(patience(30))
    assert not found
    may_end.set()
    for thread in threads:
        thread.join(patience(30))
    assert len(set(found)) == 1
    assert len(found) == 2
    assert [step[0] for step in packages] == ["download", "unpack", "finish"]


def test_a_full_disk_is_named(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))
    with pytest.raises(LookupError, match=r"is too full: make room, 1\.6 GB at least"):
        find_or_make(ARMHF, tmp_path)
    assert not packages
