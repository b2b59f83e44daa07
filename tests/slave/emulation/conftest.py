"""A fixture: making a root without apt, dpkg-deb and qemu."""

import pytest

from piwheels.core.host import apt
from piwheels.slave.emulation import making


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

    monkeypatch.setattr(making, "_download", download)
    monkeypatch.setattr(apt, "unpack", unpack)
    monkeypatch.setattr(making, "_finish", lambda _root: steps.append(("finish",)))
    return steps
