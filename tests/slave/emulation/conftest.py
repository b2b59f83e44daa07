"""Fixtures: programs on PATH that stand for those of an emulating machine."""

import shutil

import pytest

from piwheels.slave.emulation import debian, making

#: Answers as apt of a Debian machine does, and notes how it was called.
APT = """#!/bin/sh
echo "$@" >> "$0.calls"
echo "http://deb.example/debian/ bookworm main"
echo "http://deb.example/debian/ bookworm-updates main"
echo "http://deb.example/debian/ bookworm contrib"
echo "http://deb.example/security/ bookworm-security main"
echo "http://other.example/ cloud-bookworm main"
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Return a function that puts a program on PATH, which has nothing else but a shell."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "env", "rm", "chmod"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))

    def put(name, text):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        return folder / name

    return put


@pytest.fixture
def bookworm(programs, monkeypatch):
    """Make this a machine with Debian bookworm; return the file with the calls of its apt."""
    about = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
    monkeypatch.setattr(debian.platform, "freedesktop_os_release", lambda: about)
    return programs("apt-get", APT).with_name("apt-get.calls")


@pytest.fixture
def packages(bookworm, monkeypatch):
    """Replace the work of apt, dpkg-deb and the new root; return the list of its steps."""
    steps = []

    def download(folder, architecture, lines, names):
        steps.append(("download", architecture, lines, names))
        return []

    def unpack(_archives, root):
        steps.append(("unpack",))
        (root / "usr/bin").mkdir(parents=True)

    monkeypatch.setattr(debian, "download", download)
    monkeypatch.setattr(debian, "unpack", unpack)
    monkeypatch.setattr(making, "_finish", lambda _root: steps.append(("finish",)))
    return steps
