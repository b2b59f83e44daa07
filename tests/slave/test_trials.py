"""The trials of wheels: their results, and the limits of their modules."""

import json
import sys
import threading
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import patience, until
from hostile.imports import IMPORTS, UNSEEN
from hostile.wheels import INFO, METADATA, NAME, make
from piwheels.core.errors import BadWheel
from piwheels.core.host.processes import build_environment
from piwheels.core.protocols import slave_driver
from piwheels.core.states import Trial
from piwheels.core.wheels.modules import MAX_MODULES, import_names
from piwheels.slave.limits import Limits
from piwheels.slave.sandbox.choice import choose
from piwheels.slave.trials import wheels as trials
from piwheels.slave.trials.verdict import Verdict, pip_verdict, verdict

REAL_PIP = [sys.executable, "-I", "-m", "pip"]


@cache
def sandbox_of(mode):
    variables = build_environment(Path("/tmp"), Path("/tmp"))
    return choose(mode, Path(sys.executable), REAL_PIP, Path("/tmp"), variables, 0).sandbox


@pytest.fixture
def mode():
    return "bwrap"


@pytest.fixture
def trial(tmp_path, mode, pip):
    """Return a function that tries the wheel with this data, which it must not change."""
    work = tmp_path / "work"
    work.mkdir()
    sandbox = sandbox_of(mode)

    def run(data, seconds=60, command=pip, name=NAME):
        wheel = work / name
        wheel.write_bytes(data)
        limits = Limits(processes=40)
        found = trials.Trials(command, None, sandbox, limits).run(wheel, work, patience(seconds))
        assert list(work.iterdir()) == [wheel]
        assert wheel.read_bytes() == data
        wheel.unlink()
        return found

    run.wheel = work / NAME
    return run


@pytest.mark.parametrize(
    ("mode", "case"),
    [
        pytest.param(mode, case, id=f"{mode}: {case.name}")
        for case in IMPORTS
        for mode in case.modes
    ],
)
def test_an_odd_import(trial, case, monkeypatch):
    if "in time" in case.why:
        monkeypatch.setattr(trials, "IMPORT_SECONDS", 0.5)
    files = {"demo.py": case.code} if isinstance(case.code, str) else case.code
    place = repr(str(trial.wheel))
    texts = {name: text.replace("{wheel!r}", place) for name, text in files.items()}
    found = trial(make({"demo.py": None, **texts}))
    assert found == Trial(NAME, True, case.imports, case.why, case.connects, case.starts)
    reversed(slave_driver).to_send("BUILT", [True, *BUILT, [found]])


def test_pip_decides_whether_a_wheel_installs(trial):
    assert trial(make(), command=REAL_PIP) == Trial(NAME, True, True)
    scripts = "[console_scripts]\nx = demo\n"
    found = trial(make({f"{INFO}/entry_points.txt": scripts}), command=REAL_PIP)
    assert (found.installs, found.imports) == (False, None)
    assert found.why.startswith("For req: demo-pkg==1.0. Invalid script entry point: ")
    # The master has better words for this one.
    about = make(WHEEL="Wheel-Version: 1.0\nTag: py2-none-any\n")
    name = NAME.replace("py3", "py2")
    assert trial(about, command=REAL_PIP, name=name) == Trial(name)
    # Its requirements are not installed, and no settings of the slave count.
    needs = make(METADATA=f"{METADATA}Requires-Dist: nonesuch\n")
    assert trial(needs, command=REAL_PIP).installs
    with pytest.raises(BadWheel):
        trial(b"nonsense", command=REAL_PIP)


def test_a_trial_without_time_is_none(trial):
    assert trial(make(), seconds=0) == Trial(NAME, why="pip was stopped: it did not end in time")


def test_a_trial_sees_no_password_of_a_proxy(trial, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:1")
    code = "import os; text = str(os.environ); assert 'secret' not in text and 'HOME' in text"
    assert trial(make({"demo.py": code})) == Trial(NAME, True, True)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"said": [], "ended": 0}, (True, "")),
        ({"said": ["x", "ERROR: no \x1b", "    ^"], "ended": 1}, (False, "no \ufffd")),
        ({"said": ["Traceback", "ValueError: x", ""], "ended": 2}, (False, "ValueError: x")),
        ({"said": [], "ended": -9}, None),
        ({"said": [], "ended": "late"}, None),
        ({"said": [1], "ended": 0}, None),
        ([], None),
    ],
)
def test_only_a_verdict_of_pip_counts(report, expected):
    found = pip_verdict(json.dumps(report).encode())
    assert found == expected or (expected is None and found[0] is None)


def test_a_trial_can_be_stopped(tmp_path, pip):
    wheel = tmp_path / NAME
    wheel.write_bytes(make({"demo.py": "import time; open('/dev/shm/x', 'w'); time.sleep(999)"}))
    made, found = trials.Trials(pip, None, sandbox_of("none"), Limits()), []
    thread = threading.Thread(target=lambda: found.append(made.run(wheel, tmp_path, 99)))
    thread.start()
    until(lambda: list(tmp_path.glob("trial-*/site/demo.py")))
    made.stop()
    thread.join(patience(30))
    assert found[0].imports is None
    assert made.run(wheel, tmp_path, 99) == Trial(NAME)
    assert list(tmp_path.iterdir()) == [wheel]


# What is imported ---------------------------------------------------------------------------------

PATHS = {
    "six.py": ["six"],
    "a/__init__.py a/b/__init__.py a/b.py": ["a"],
    "zope/interface/__init__.py zope/interface/tests/__init__.py": ["zope.interface"],
    "zope/event/__init__.py zope/event/x.py zope/interface/__init__.py x-nspkg.pth":
        ["zope.event", "zope.interface"],
    "google/cloud/x/v1/__init__.py google/cloud/x/__init__.py": ["google.cloud.x"],
    "_x.cpython-311-x86_64-linux-gnu.so y.abi3.so z.so": ["_x", "y", "z"],
    "_x.pypy39-pp73-x86_64-linux-gnu.so": ["_x"],
    "a/__init__.cpython-311-x86_64-linux-gnu.so a/b.so": ["a"],
    "d-1.data/purelib/a/__init__.py d-1.data/platlib/b.so d-1.data/data/c.py": ["a", "b"],
    "d-1.data/scripts/run.py d-1.dist-info/RECORD": [],
    "tests/__init__.py docs/conf.py setup.py conftest.py scripts/x.py examples/a/__init__.py": [],
    "a-b.py class.py 1.py x.y.py __main__.py __init__.py lib.so.1 a.pyc foo-stubs/x.pyi": [],
    "a/b.py share/x.txt": [],
    "größe.py": ["größe"],
}  # fmt: skip


@pytest.mark.parametrize("paths", PATHS)
def test_the_modules_of_a_wheel(paths):
    assert import_names(paths.split()) == PATHS[paths]


def test_only_so_many_modules_are_imported():
    assert len(import_names(f"m{number}.py" for number in range(1000))) == MAX_MODULES


# Reports -----------------------------------------------------------------------------------------

BUILT = [timedelta(0), "log\n", [], []]
REPORT = {"said": [], "ended": 0, "connects": False, "starts": False}
WORDS = st.lists(st.lists(st.text(max_size=300), max_size=3).map(json.dumps) | st.text())
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9)
REPORTS = st.binary() | st.fixed_dictionaries(
    {"said": WORDS | VALUES, "ended": VALUES, "connects": VALUES, "starts": VALUES}
).map(lambda found: json.dumps(found).encode())


@given(REPORTS)
def test_any_report_has_a_verdict_that_travels(report):
    found = verdict(["demo", "other"], report)
    trial = Trial(NAME, True, **found._asdict())
    message = [True, *BUILT, [trial]]
    assert slave_driver.received("BUILT", reversed(slave_driver).to_send("BUILT", message))


def test_a_success_needs_each_module_and_a_good_end():
    said = [json.dumps(words) for words in (["import", "a"], ["yes"], ["import", "b"], ["yes"])]
    good = json.dumps(REPORT | {"said": said}).encode()
    assert verdict(["a", "b"], good) == Verdict(True)
    assert verdict(["a", "b", "c"], good).imports is False
    late = json.dumps(REPORT | {"said": said, "ended": "late"}).encode()
    assert verdict(["a", "b"], late) == Verdict(False, "after the import: it did not end in time")
    seen = json.dumps(REPORT | {"said": said, "connects": True, "starts": True}).encode()
    said = [json.dumps(words) for words in (["import", "_a"], ["no", "x"], ["import", "b"])]
    private = {**REPORT, "said": [*said, '["yes"]']}
    assert verdict(["_a", "b"], json.dumps(private).encode()) == Verdict(False, "_a: x")
    private["said"][3] = '["no", "y"]'  # what people import comes first
    assert verdict(["_a", "b"], json.dumps(private).encode()) == Verdict(False, "b: y")
    assert verdict(["a", "b"], seen) == Verdict(True, "", UNSEEN, UNSEEN)
