"""The interpreters that a slave builds for: which are found, and which are left out."""

import os
import sys
from pathlib import Path

import pytest

from piwheels.core.errors import Fatal
from piwheels.core.host import interpreters
from piwheels.core.host.interpreters import found_interpreters
from piwheels.core.program.builds import AUTO
from piwheels.slave import workshops
from piwheels.slave.config import SlaveConfig
from piwheels.slave.readiness import examine
from piwheels.slave.room import lanes_for
from piwheels.slave.selfcheck import Findings
from piwheels.slave.workshops import open_workshops

#: It answers as another interpreter does, after the answer to the probe is known.
FAKE = """#!/bin/sh
case "$*" in
*sysconfig*) echo '["{version}", "{abi}", "linux-x86_64"]' ;;
*) echo 'pip 25.0 from x (python 3)' ;;
esac
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake(path, abi):
    return program(path, FAKE.format(version=abi.strip("cpt"), abi=abi))


def test_the_interpreters_of_system_pyenv_and_uv_are_found_once(tmp_path):
    wanted = [
        "usr/bin/python3.11", "usr/local/bin/python3.13t",
        "home/.pyenv/versions/3.12.1/bin/python3",
        "home/.local/share/uv/python/cpython-3.14/bin/python3.14",
    ]  # fmt: skip
    for name in wanted:
        fake(tmp_path / name, "cp311")
    for name in ("usr/bin/python3.11-config", "usr/bin/python3", "usr/bin/python2.7"):
        fake(tmp_path / name, "cp311")
    (tmp_path / "usr/bin/python3.12").write_text("not executable")
    (tmp_path / "usr/local/bin/python3.11").symlink_to(tmp_path / "usr/bin/python3.11")
    uv = tmp_path / "home/.local/share/uv/python"
    (uv / "cpython-3.14/bin/python3").symlink_to("python3.14")
    (uv / "cpython-3.14-linux").symlink_to("cpython-3.14")
    found = found_interpreters({"HOME": str(tmp_path / "home")}, tmp_path)
    assert found[0] == Path(sys.executable)
    resolved = {path.resolve() for path in found[1:]}
    assert len(found) == 1 + len(wanted)
    assert resolved == {(tmp_path / name).resolve() for name in wanted}
    elsewhere = {
        "PYENV_ROOT": str(tmp_path / "home/.pyenv"),
        "UV_PYTHON_INSTALL_DIR": str(tmp_path / "home/.local/share/uv/python"),
    }
    assert len(found_interpreters(elsewhere, tmp_path)) == len(found)


@pytest.fixture
def several(tmp_path, monkeypatch):
    """Interpreters of two targets, another one of the first target, and two that do not work."""
    good = [fake(tmp_path / f"good{number}", abi) for number, abi in enumerate(("cp391", "cp392t"))]
    same = fake(tmp_path / "same", "cp391")
    crashing = program(tmp_path / "crashing", "#!/bin/sh\necho 'Illegal instruction' >&2; exit 132")
    silent = program(tmp_path / "silent", "#!/bin/sh\nexec sleep 60")
    monkeypatch.setattr(interpreters, "_PROBE_SECONDS", 2.0)
    paths = [*good, same, crashing, silent]
    monkeypatch.setattr(workshops, "found_interpreters", lambda: paths)
    return paths


def test_what_does_not_work_is_left_out_of_all(several, caplog):
    opened = open_workshops(["all"])
    assert [(each.interpreter.path, *each.offer[1:]) for each in opened] == [
        (several[0], "cp391", "linux_x86_64"), (several[1], "cp392t", "linux_x86_64"),
    ]  # fmt: skip
    assert all(each.is_found for each in opened)
    for sentence in (
        "same: " + f"{several[0]} is for cp391 on linux_x86_64, too",
        "crashing does not work: Illegal instruction",
        "silent does not answer within 2 s",
    ):
        assert caplog.text.count(sentence) == 1


def test_what_the_operator_names_must_work(several, caplog):
    good, crashing = str(several[0]), str(several[3])
    with pytest.raises(Fatal, match="crashing does not work: Illegal instruction"):
        open_workshops([good, crashing])
    with pytest.raises(Fatal, match="crashing does not work"):
        open_workshops(["all", crashing])
    (named, found) = open_workshops([good, "all"])
    assert (named.is_found, found.is_found) == (False, True)
    assert [each.interpreter.path for each in open_workshops([])] == [Path(sys.executable)]


def test_an_interpreter_that_cannot_build_is_left_out_if_others_can(several, monkeypatch, caplog):
    opened = open_workshops([str(several[1]), "all"])
    broken = {several[0]: ["no module ssl"]}
    monkeypatch.setattr(
        "piwheels.slave.readiness.check",
        lambda path, *_: Findings(broken.get(path, []), ["no compiler"]),
    )
    assert examine(list(opened), Path()) == Findings([], ["no compiler"])
    assert "good0: no module ssl" in caplog.text
    examine(opened, Path())
    assert [each.interpreter.path for each in opened] == [several[1]]
    broken[several[1]] = ["no room"]
    assert examine(opened, Path()).fatal == ["no room"]
    assert len(opened) == 1


def test_the_lanes_follow_from_the_jobs():
    assert list(lanes_for(1)) == [0]
    assert list(lanes_for(3)) == [1, 2, 3]
    assert list(lanes_for(AUTO)) == list(range(1, min(len(os.sched_getaffinity(0)) + 1, 64) + 1))
    assert SlaveConfig().jobs == 1
