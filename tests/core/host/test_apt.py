"""apt and dpkg of this machine, with folders of their own."""

import os
import shutil
import subprocess

import pytest

from piwheels.core.host import apt
from piwheels.core.wheels.dependencies import System as Libraries


def test_sources_are_those_of_this_machine(bookworm):
    lines = apt.sources("bookworm")
    assert [line.split("] ")[-1].removeprefix("deb ") for line in lines] == [
        "http://deb.example/debian/ bookworm main",
        "http://deb.example/debian/ bookworm-updates main",
        "http://deb.example/security/ bookworm-security main",
    ]
    assert "indextargets" in bookworm.read_text()
    (line,) = apt.sources("trixie", "http://mirror.example/debian")
    assert line.endswith("http://mirror.example/debian trixie main")


@pytest.mark.parametrize("about", [{}, {"ID": "fedora", "VERSION_CODENAME": ""}])
def test_a_machine_without_debian_needs_a_release(about, monkeypatch):
    monkeypatch.setattr(apt.platform, "freedesktop_os_release", lambda: about)
    with pytest.raises(LookupError, match="name one, such as armhf/trixie"):
        apt.own_release()


def test_the_words_of_apt_are_passed_on(programs, tmp_path, caplog):
    programs("apt-config", "#!/bin/sh\n")
    programs("apt-get", "#!/bin/sh\necho 'W: odd' >&2\necho \"E: no $3\" >&2; exit 100\n")
    own = apt.Apt(tmp_path / "apt", ["armhf"], ["deb x y z"])
    own.update()
    for act in (own.plan, own.fetch):
        with pytest.raises(LookupError, match=r"^apt-get install failed: E: no install$"):
            act(["gcc"])
    assert "apt-get update failed: E: no update" in caplog.text


def test_apt_has_the_proxy_of_the_machine_and_nothing_else(programs, tmp_path):
    dump = 'Acquire::http::Proxy "http://proxy:3128";\nAPT::Architecture "amd64";\n'
    programs("apt-config", f"#!/bin/sh\necho '{dump}'\n")
    programs("apt-get", '#!/bin/sh\necho > "${APT_CONFIG%/*}/cache/archives/gcc_1_armhf.deb"\n')
    (path,) = apt.Apt(tmp_path / "apt", ["armhf"], ["deb x y z"]).fetch(["gcc"])
    assert path.name == "gcc_1_armhf.deb"
    settings = (tmp_path / "apt/apt.conf").read_text()
    assert 'Acquire::http::Proxy "http://proxy:3128";' in settings
    assert 'APT::Architecture "armhf";' in settings
    assert "amd64" not in settings
    assert "/var/lib/dpkg/status" not in settings
    apt.Apt(tmp_path / "other", ["amd64", "i386"])
    settings = (tmp_path / "other/apt.conf").read_text()
    assert 'Dir::State::status "/var/lib/dpkg/status";' in settings
    assert 'APT::Architectures:: "i386";' in settings


def test_a_plan_has_names_with_versions_and_sizes(programs, tmp_path):
    programs("apt-config", "#!/bin/sh\n")
    lines = [
        "Reading package lists...",
        "'http://deb.example/libx1.deb' libx1_2%3a1.0-1_armhf.deb 1234 SHA256:0a",
        "'http://deb.example/pool/libx-dev_1_armhf.deb' libx-dev_1_armhf.deb 9 ",
        "'http://deb.example/evil' ../evil 9 SHA256:0a",
    ]
    words = " ".join(f'"{line}"' for line in lines)
    programs("apt-get", f'#!/bin/sh\necho "$@" > "$0.calls"\nprintf "%s\\n" {words}\n')
    plan = apt.Apt(tmp_path / "apt", ["armhf"], ["deb x y z"]).plan(["libx-dev"])
    assert plan == [("libx-dev_1_armhf.deb", 9), ("libx1_2%3a1.0-1_armhf.deb", 1234)]
    assert "--no-remove libx-dev" in (tmp_path / "programs/apt-get.calls").read_text()


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
    apt.unpack(sorted(tmp_path.glob("*.deb")), root)
    assert (root / "usr/lib/base.so").read_text() == "x"  # /lib is a link
    assert (root / "usr/lib/base.so").stat().st_uid == os.getuid()
    assert dict(Libraries(root)._entries(root / "var/lib/dpkg/info")) == {
        "/lib/libfoo.so.1": "libfoo1", "/lib/base.so": "base",
    }  # fmt: skip
    (tmp_path / "broken.deb").write_text("x")
    with pytest.raises(LookupError, match=r"unpacking broken\.deb failed"):
        apt.unpack([tmp_path / "broken.deb"], tmp_path / "other")
