"""Roots are made once, whole or not at all, from the machine's own mirrors."""

import os
import shutil
import subprocess
import threading

import pytest

from helpers import patience
from piwheels.core.wheels.dependencies import System as Libraries
from piwheels.slave.emulation import debian, making
from piwheels.slave.emulation.architectures import System
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


@pytest.mark.parametrize("step", ["download", "unpack"])
def test_a_failure_leaves_nothing_behind(step, packages, tmp_path, monkeypatch):
    def fail(*_):
        raise LookupError("E: no such package")

    with monkeypatch.context() as patch:
        patch.setattr(debian, step, fail)
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


def test_sources_are_those_of_this_machine(bookworm):
    lines = debian.sources("bookworm")
    assert [line.split("] ")[-1].removeprefix("deb ") for line in lines] == [
        "http://deb.example/debian/ bookworm main",
        "http://deb.example/debian/ bookworm-updates main",
        "http://deb.example/security/ bookworm-security main",
    ]
    assert "indextargets" in bookworm.read_text()
    (line,) = debian.sources("trixie", "http://mirror.example/debian")
    assert line.endswith("http://mirror.example/debian trixie main")


@pytest.mark.parametrize("about", [{}, {"ID": "fedora", "VERSION_CODENAME": ""}])
def test_a_machine_without_debian_needs_a_release(about, monkeypatch):
    monkeypatch.setattr(debian.platform, "freedesktop_os_release", lambda: about)
    with pytest.raises(LookupError, match="name one, such as armhf/trixie"):
        debian.own_release()


def test_the_words_of_apt_are_passed_on(programs, tmp_path, caplog):
    programs("apt-config", "#!/bin/sh\n")
    programs("apt-get", "#!/bin/sh\necho 'W: odd' >&2\necho \"E: no $2\" >&2; exit 100\n")
    with pytest.raises(LookupError, match="apt-get install failed: E: no install"):
        debian.download(tmp_path / "apt", "armhf", ["deb x y z"], ["gcc"])
    assert "apt-get update failed: E: no update" in caplog.text


def test_apt_has_the_proxy_of_the_machine_and_nothing_else(programs, tmp_path):
    dump = 'Acquire::http::Proxy "http://proxy:3128";\nAPT::Architecture "amd64";\n'
    programs("apt-config", f"#!/bin/sh\necho '{dump}'\n")
    programs("apt-get", '#!/bin/sh\necho > "${APT_CONFIG%/*}/cache/archives/gcc_1_armhf.deb"\n')
    (path,) = debian.download(tmp_path / "apt", "armhf", ["deb x y z"], ["gcc"])
    assert path.name == "gcc_1_armhf.deb"
    settings = (tmp_path / "apt/apt.conf").read_text()
    assert 'Acquire::http::Proxy "http://proxy:3128";' in settings
    assert 'APT::Architecture "armhf";' in settings
    assert "amd64" not in settings


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="there is no dpkg-deb")
def test_packages_are_unpacked_and_listed(tmp_path):
    for name, path in (("libfoo1", "usr/lib/libfoo.so.1"), ("base", "lib/base.so")):
        source = tmp_path / name
        (source / "DEBIAN").mkdir(parents=True)
        about = f"Package: {name}\nVersion: 1\nArchitecture: armhf\nMaintainer: x <x@x>\n"
        (source / "DEBIAN/control").write_text(f"{about}Description: x\n")
        (source / path).parent.mkdir(parents=True)
        (source / path).write_text("x")
        command = ["dpkg-deb", "--build", "--root-owner-group", source, tmp_path / f"{name}_1.deb"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    root = tmp_path / "root"
    debian.unpack(sorted(tmp_path.glob("*.deb")), root)
    assert (root / "usr/lib/base.so").read_text() == "x"  # /lib is a link
    assert (root / "usr/lib/base.so").stat().st_uid == os.getuid()
    assert dict(Libraries(root)._entries(root / "var/lib/dpkg/info")) == {
        "/lib/libfoo.so.1": "libfoo1", "/lib/base.so": "base",
    }  # fmt: skip
    (tmp_path / "broken.deb").write_text("x")
    with pytest.raises(LookupError, match=r"unpacking broken\.deb failed"):
        debian.unpack([tmp_path / "broken.deb"], tmp_path / "other")
