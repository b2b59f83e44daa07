"""Packages for one build: from a repository of the test, by real apt, dpkg-deb and bubblewrap."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from helpers import BACKEND, patience, write_sdist
from piwheels.core.host.apt import Apt, own_architectures
from piwheels.core.host.processes import build_environment
from piwheels.core.recipes import Recipe
from piwheels.core.wheels.dependencies import System, _read_elf_file
from piwheels.slave import overlay
from piwheels.slave.app import PiWheelsSlave, SlaveConfig
from piwheels.slave.builder import Builder
from piwheels.slave.overlay import Overlays, unavailable
from piwheels.slave.sandbox.choice import choose

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable())

#: Succeeds only if a build sees the library and the header of the package libpiw-dev.
SEES = """import ctypes
    ctypes.CDLL("libpiw.so.1")
    print("header:", open("/usr/include/piw.h").read(), open("/etc/piw/settings").read())
    print("link:", open("/usr/bin/piw-config").read(), flush=True)
"""
ALTERNATIVES = """#!/bin/sh
set -e
prio=20
update-alternatives --install /usr/bin/piw-config piw-config \\
    /usr/bin/piw-config-2 $prio
"""


def make_package(folder, name, files, depends="", script=""):
    """Put a package with *files* into the repository *folder*; return its paragraph in the list."""
    tree = folder / f"{name}.tree"
    (tree / "DEBIAN").mkdir(parents=True)
    architecture = own_architectures()[0]
    about = f"Package: {name}\nVersion: 1.0\nArchitecture: {architecture}\nMaintainer: x <x@x>\n"
    about += f"Depends: {depends}\n" if depends else ""
    (tree / "DEBIAN/control").write_text(f"{about}Description: x\n")
    if script:
        (tree / "DEBIAN/postinst").write_text(script)
        (tree / "DEBIAN/postinst").chmod(0o755)
    for place, content in files.items():
        path = tree / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    deb = folder / f"{name}_1.0_{architecture}.deb"
    command = ["dpkg-deb", "--build", "--root-owner-group", tree, deb]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    data = deb.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return f"{about}Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {digest}\nDescription: x\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The bytes of a library."""
    folder = tmp_path_factory.mktemp("library")
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libpiw.so.1", "-x", "c", os.devnull, "-o"]
    subprocess.run([*command, folder / "libpiw.so.1"], check=True)
    return (folder / "libpiw.so.1").read_bytes()


@pytest.fixture(scope="module")
def repository(library, tmp_path_factory):
    """The line of sources.list for a repository with libpiw1, libpiw-dev, and piw-large."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "repository").mkdir()
    folder /= "repository"
    triplet = next(Path("/usr/lib").glob("*-linux-gnu*")).name
    paragraphs = [
        make_package(folder, "libpiw1", {f"usr/lib/{triplet}/libpiw.so.1": library}),
        make_package(
            folder,
            "libpiw-dev",
            {
                "usr/include/piw.h": b"1",
                "usr/bin/piw-config-2": b"2",
                "etc/piw/settings": b"3",
            },
            "libpiw1",
            ALTERNATIVES,
        ),
        make_package(folder, "piw-other", {"usr/share/piw-other": b"x" * 100_000}),
    ]
    (folder / "Packages").write_text("\n".join(paragraphs))
    return f"deb [trusted=yes] copy:{folder} ./"


@pytest.fixture
def overlays(repository, tmp_path, monkeypatch):
    """Overlays of the packages of the repository."""
    monkeypatch.setattr(overlay, "Apt", lambda *about: Apt(*about, [repository]))
    return Overlays(tmp_path / "overlays")


def test_an_overlay_is_made_once(overlays, tmp_path, monkeypatch):
    one = overlays.prepare(["libpiw-dev"])
    assert [name.partition("_")[0] for name in one.added] == ["libpiw-dev", "libpiw1"]
    assert (one.path / "usr/include/piw.h").read_text() == "1"
    assert (one.path / "usr/bin/piw-config").readlink() == Path("piw-config-2")
    assert (one.path / "etc/ld.so.cache").read_bytes().count(b"libpiw.so.1")
    monkeypatch.setattr(Apt, "fetch", None)
    other = Overlays(tmp_path / "overlays").prepare(["libpiw1", "libpiw-dev"])
    assert other.path == one.path
    names = {path.name for path in (tmp_path / "overlays").iterdir()}
    assert names == {"apt", "lock", one.path.name}
    for each in (one, other):
        each.close()


def test_lanes_make_one_overlay(overlays, tmp_path, monkeypatch):
    made, fetch = [], Apt.fetch
    monkeypatch.setattr(Apt, "fetch", lambda *about: made.append(about) or fetch(*about))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(overlays.prepare(["libpiw-dev"])))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(60))
    assert len({each.path for each in found}) == 1
    assert len(made) == 1
    for each in found:
        each.close()


@pytest.mark.parametrize(
    "name", ["", "-o", "a b", "x/trixie", "x=1", "lib.*", "^lib", "?essential", "x\n", "X", "ż" * 3]
)
def test_other_words_are_no_packages(overlays, tmp_path, name):
    with pytest.raises(LookupError, match="is not the name of a package of Debian"):
        overlays.prepare(["libpiw-dev", name])
    assert not (tmp_path / "overlays").exists()


def test_unknown_packages_are_asked_for_again_with_new_lists(overlays, monkeypatch):
    updates, update = [], Apt.update
    monkeypatch.setattr(Apt, "update", lambda self: updates.append(1) or update(self))
    for _ in range(2):
        with pytest.raises(LookupError, match="E: Unable to locate package piw-missing"):
            overlays.prepare(["piw-missing"])
    assert updates == [1]  # they are new
    stamp = overlays._folder / "apt/updated"
    os.utime(stamp, (stamp.stat().st_mtime - 3600,) * 2)
    with pytest.raises(LookupError, match="Unable to locate"):
        overlays.prepare(["piw-missing"])
    assert updates == [1, 1]


def test_a_failure_leaves_nothing_behind(overlays, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(overlay, "_write_library_cache", lambda _layer: sys.exit())
        with pytest.raises(SystemExit):
            overlays.prepare(["libpiw-dev"])
    assert {path.name for path in overlays._folder.iterdir()} == {"apt", "lock"}
    overlays.prepare(["libpiw-dev"]).close()


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MAX_FETCHED", 10, "piw-other would fetch .* too much"),
        ("_GROWTH", 10**15, "is too full: make room"),
    ],
)
def test_large_packages_are_refused(overlays, monkeypatch, limit, value, words):
    monkeypatch.setattr(overlay, limit, value)
    with pytest.raises(LookupError, match=words):
        overlays.prepare(["piw-other"])


def test_the_overlays_that_no_build_uses_go_first(overlays, monkeypatch):
    used = overlays.prepare(["libpiw-dev"])
    unused = overlays.prepare(["piw-other"])
    unused.close()
    monkeypatch.setattr(overlays, "_most", 1)
    last = overlays.prepare(["libpiw1"])
    assert [each.path.exists() for each in (used, unused, last)] == [True, False, True]
    used.close()
    last.close()


def test_libraries_have_the_packages_of_the_overlay(overlays, library, tmp_path):
    layer = overlays.prepare(["libpiw-dev"])
    (tmp_path / "libpiw.so").write_bytes(library)
    kind = _read_elf_file(tmp_path / "libpiw.so").kind
    system = System(layer.path, System())
    assert system.package_of("libpiw.so.1", kind) == "libpiw1"
    assert system.package_of("libc.so.6", kind) == System().package_of("libc.so.6", kind)
    assert system.package_of("libmissing.so.1", kind) is None
    layer.close()


def build(tmp_path, monkeypatch, mode, overlays, *packages):
    """Build a package that needs libpiw-dev with a recipe for *packages*; return its builder."""
    sources = tmp_path / "sources"
    sources.mkdir()
    backend = BACKEND.format(name="demo", version="1.0", before=SEES, after="pass")
    write_sdist(sources, "demo", "1.0", {"backend.py": backend})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(sources))
    work = tmp_path / "work"
    work.mkdir()
    python, pip = Path(sys.executable), [sys.executable, "-I", "-m", "pip"]
    variables = build_environment(work, work) | {"PIP_FIND_LINKS": str(sources)}
    sandbox = choose(mode, python, pip, work, variables).sandbox
    recipe = Recipe(apt=packages)
    about = {"dir": work, "pip": pip, "sandbox": sandbox, "recipe": recipe, "overlays": overlays}
    with Builder("demo", "1.0", timeout=timedelta(seconds=patience(60)), **about) as builder:
        builder.start()
        builder.join(patience(90))
    return builder


def test_only_a_build_with_the_recipe_sees_the_packages(overlays, tmp_path, monkeypatch):
    builder = build(tmp_path, monkeypatch, "bwrap", overlays, "libpiw-dev")
    assert builder.status, builder.output
    assert "header: 1 3" in builder.output
    assert "link: 2" in builder.output
    seen = "piwheels: only this build sees these packages of Debian: libpiw-dev_1.0 libpiw1_1.0"
    assert seen in builder.output.split("\n")
    assert not os.path.lexists("/usr/include/piw.h")


def test_a_build_without_the_recipe_does_not(overlays, tmp_path, monkeypatch):
    overlays.prepare(["libpiw-dev"]).close()
    builder = build(tmp_path, monkeypatch, "bwrap", overlays)
    assert not builder.status
    assert "libpiw.so.1: cannot open shared object file" in builder.output


@pytest.mark.parametrize(
    ("mode", "package", "words"),
    [
        ("bwrap", "piw-missing", "E: Unable to locate package piw-missing"),
        ("bwrap", "--remove", "'--remove' is not the name of a package of Debian"),
        ("landlock", "libpiw-dev", "this sandbox cannot show packages to one build only"),
        ("none", "libpiw-dev", "this sandbox cannot show packages to one build only"),
    ],
)
def test_a_recipe_that_cannot_be_carried_out_fails_the_build(
    overlays, tmp_path, monkeypatch, *, mode, package, words
):
    builder = build(tmp_path, monkeypatch, mode, overlays, package)
    assert not builder.status
    assert "piwheels: " in builder.output
    assert words in builder.output
    assert not any((tmp_path / "work").iterdir())


def test_an_operator_can_forbid_it(tmp_path, monkeypatch):
    builder = build(tmp_path, monkeypatch, "bwrap", None, "libpiw-dev")
    assert "apt: it cannot show packages of Debian to one build" in builder.output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sandbox": "bwrap"}, True),
        ({"sandbox": "bwrap", "no_packages": True}, False),
        ({"sandbox": "landlock"}, False),
        ({"sandbox": "none"}, False),
    ],
)
def test_a_slave_has_overlays_if_its_sandboxes_show_them(tmp_path, options, expected, caplog):
    slave = PiWheelsSlave(SlaveConfig(dir=tmp_path, **options))
    with caplog.at_level("INFO"):
        slave._choose_sandboxes()
    assert (slave.overlays is not None) is expected
    says = "no build can see packages of Debian that are not installed: not every sandbox can"
    assert (says in caplog.text) is not (expected or "no_packages" in options)


def test_real_packages_come_from_the_sources_of_this_machine(tmp_path):
    real = Overlays(tmp_path / "overlays")
    try:
        layer = real.prepare(["libsnappy-dev"])
    except LookupError as error:
        pytest.skip(f"apt fetches nothing here: {error}")
    if layer.added:  # the machine does not have it
        assert (layer.path / "usr/include/snappy-c.h").exists()
    layer.close()


def test_machines_without_debian_have_no_overlays(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: name != "dpkg-deb" or None)
    assert unavailable() == "this machine has no dpkg: it is not Debian"
