"""A machine that cannot emulate says why, and what to do; namespaces keep their rules."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import patience
from hostile.wheels import elf_for
from piwheels.core.errors import Fatal
from piwheels.core.host.interpreters import Interpreter
from piwheels.slave.builder import Builder
from piwheels.slave.emulation import offers, root
from piwheels.slave.emulation.architectures import System
from piwheels.slave.emulation.making import find_or_make
from piwheels.slave.emulation.offers import interpreters, unavailable
from piwheels.slave.emulation.root import Root, emulating
from piwheels.slave.emulation.sandbox import Emulated
from piwheels.slave.sandbox.bubblewrap import find_program
from piwheels.slave.sandbox.view import View

ARMHF = System("armhf")
#: The table of the whole machine.
TABLE = Path("/proc/sys/fs/binfmt_misc")


@pytest.fixture
def complete(programs):
    """Return a function that puts programs on PATH, which has all that emulation needs."""
    for name in ("apt-get", "dpkg-deb", "tar", "qemu-arm-static"):
        programs(name, "#!/bin/sh\n")
    programs("bwrap", "#!/bin/sh\necho bubblewrap 0.8.0\n")
    (programs("true", "").with_name("true")).write_text("#!/bin/sh\n")
    return programs


def release(text, machine="x86_64"):
    return lambda: SimpleNamespace(release=text, machine=machine)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("apt-get", "there is no apt-get: install apt (Debian and derivatives)"),
        ("dpkg-deb", "there is no dpkg-deb: install dpkg (Debian and derivatives)"),
        ("qemu-arm-static", "there is no qemu-arm-static: install qemu-user-static"),
    ],
)
def test_a_missing_program_is_named(missing, words, complete):
    complete(missing, "").unlink()
    assert unavailable(ARMHF) == words


def test_an_old_kernel_is_named(complete, monkeypatch):
    monkeypatch.setattr(os, "uname", release("6.6.74+rpt-rpi-v8"))
    words = "that needs Linux 6.7, and this is 6.6.74+rpt-rpi-v8: install a newer kernel"
    assert unavailable(ARMHF) == words


def test_the_machine_itself_is_not_emulated(complete, monkeypatch):
    monkeypatch.setattr(os, "uname", release("6.12.1", "aarch64"))
    assert unavailable(System("arm64")) == "this machine is arm64 itself: leave it out"


def test_forbidden_namespaces_are_named(complete, monkeypatch):
    refused = [
        "sh",
        "-c",
        "echo 'there are no user namespaces (Operation not permitted)' >&2; exit 1",
    ]
    monkeypatch.setattr(offers, "emulating", lambda *_: refused)
    assert unavailable(ARMHF) == (
        "there are no user namespaces (Operation not permitted): permit user namespaces, and mounts"
        " in them"
    )


def test_a_system_that_cannot_be_emulated_is_left_out(complete, tmp_path, caplog):
    complete("qemu-arm-static", "").unlink()
    assert interpreters([ARMHF, System("armel")], tmp_path) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"not emulating {name}: there is no qemu-arm-static: install qemu-user-static"
        for name in ("armhf", "armel")
    ]


def test_an_operator_adds_interpreters_to_a_root(complete, packages, tmp_path, monkeypatch, caplog):
    def answer(path, prefix):
        assert prefix[-1] == "--"
        if path == Path("/usr/local/bin/python3.12"):
            raise Fatal("it does not work")
        return Interpreter(path, "3", "cp3", "linux_armv7l")

    made = find_or_make(ARMHF, tmp_path).path
    names = "usr/local/bin/python3.12", "usr/local/bin/python3.14t", "opt/x/bin/python3.9"
    for name in (*names, "opt/x/bin/python3.9-config", "srv/python3.8"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).touch()
    monkeypatch.setattr(offers, "probe", answer)
    monkeypatch.setattr(offers, "unavailable", lambda _: "")
    found = interpreters([ARMHF], tmp_path)
    assert [str(each.path) for each in found] == ["/usr/bin/python3", *("/" + n for n in names[1:])]
    assert {each.root for each in found} == {made}
    assert f"not emulating {made}/usr/local/bin/python3.12: it does not work" in caplog.text


def namespaces():
    """Return why this machine has no namespaces with a binfmt_misc of their own."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (offers, root):
            patch.setattr(module, "find_qemu", lambda _: shutil.which("true"))
        return unavailable(ARMHF)


@pytest.fixture
def echoing(tmp_path, monkeypatch):
    """Let echo stand for qemu; return a program of ARM, and a folder for binfmt_misc."""
    if why := namespaces():
        pytest.skip(why)
    monkeypatch.setattr(root, "find_qemu", lambda _: shutil.which("echo"))
    program = tmp_path / "program"
    program.write_bytes(elf_for(False, 40, 0x5000400))
    program.chmod(0o755)
    place = tmp_path / "binfmt"
    place.mkdir()
    return program, place


def call(command, **options):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=patience(60), check=False, **options
    )


def test_only_the_namespace_runs_foreign_programs(echoing):
    program, place = echoing
    before = sorted(TABLE.iterdir()) if TABLE.is_dir() else []
    done = call(emulating("armhf", place, [str(program), "a", "b"]))
    assert (done.stdout, done.stderr) == (f"{program} {program} a b\n", "")
    assert list(place.iterdir()) == []
    assert (sorted(TABLE.iterdir()) if TABLE.is_dir() else []) == before
    with pytest.raises(OSError, match="Exec format error"):
        call([program])


@pytest.fixture
def small_root(echoing, tmp_path):
    """Return a root with a program of ARM, and all that this machine's echo needs."""
    made = Root(tmp_path / "armhf-x/root")
    for folder in ("usr/bin", "usr/lib", "usr/lib64", "etc/xdg/pip", "srv"):
        (made.path / folder).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (made.path / name).symlink_to(f"usr/{name}")
    for library in re.findall(r"(/\S+) \(", call(["ldd", shutil.which("echo")]).stdout):
        place = Path(f"{made.path}/usr/{library.removeprefix('/usr')}")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    (tmp_path / "armhf-x/binfmt").mkdir()
    root.prepare(made.path)
    shutil.copy(echoing[0], made.path / "usr/bin/program")
    return made


def test_a_build_runs_programs_of_its_root(small_root, tmp_path):
    work = tmp_path / "work"
    (work / "tmp").mkdir(parents=True)
    settings = tmp_path / "settings"
    settings.touch()
    sandbox = Emulated(find_program(), View((settings,), ()), small_root)
    done = call(sandbox.command(work, ["/bin/program", "x"], 1))
    assert (done.stdout, done.stderr) == ("/bin/program /bin/program x\n", "")


def test_a_build_without_qemu_fails_with_a_sentence(small_root, tmp_path, monkeypatch):
    def gone(_):
        raise LookupError("there is no qemu-arm-static: install qemu-user-static")

    monkeypatch.setattr(root, "find_qemu", gone)
    sandbox = Emulated(find_program(), View((), ()), small_root)
    with Builder("demo", "1.0", dir=tmp_path, pip=["pip"], sandbox=sandbox) as builder:
        builder.start()
        builder.join(patience(60))
        assert "piwheels: there is no qemu-arm-static: install qemu-user-static" in builder.output


def test_a_build_sees_other_files_of_this_machine_in_its_root(small_root):
    folder = small_root.path / "etc/xdg"
    (folder / "other").touch()
    assert str(small_root.path / "etc") in small_root.mounts([])
    options = small_root.mounts([Path("/etc/xdg/pip/constraints.txt")])
    assert str(small_root.path / "etc") not in options
    assert str(folder / "pip") not in options
    assert str(folder / "other") in options
    assert str(small_root.path / "usr") in options
    assert not any("srv" in option for option in options)
