"""What is built when; and the lock file that a farm writes."""

import tomllib

import pytest
from packaging.pylock import Pylock

from piwheels.core.errors import Fatal
from piwheels.core.states import Fetch
from piwheels.up.lockfile.lookups import Question, batch
from piwheels.up.lockfile.order import cycle, key, next_step, to_break
from piwheels.up.lockfile.work import sources
from piwheels.up.lockfile.writing import Locked, pylock, requirements
from piwheels.up.pythons import interpreter_named

APP, TOOL, BASE, EGG, HEN = (key(name, "1.0") for name in ("app", "tool", "base", "egg", "hen"))
WAITING = {APP: {TOOL, BASE}, TOOL: {BASE}, BASE: set()}


def test_a_key_is_the_same_in_each_spelling():
    assert key("Zope_Interface", "1.0") == key("zope.interface", "1")


def test_nothing_starts_before_what_it_needs():
    assert next_step(WAITING, set(), set()).start == [BASE]
    left = {APP: WAITING[APP], TOOL: WAITING[TOOL]}
    assert next_step(left, set(), set()).start == []
    assert next_step(left, {BASE}, set()).start == [TOOL]
    assert next_step({APP: WAITING[APP]}, {BASE, TOOL}, set()).start == [APP]


def test_what_needs_a_failure_is_blocked():
    step = next_step({APP: {TOOL, BASE}, TOOL: {BASE}, EGG: set()}, set(), {BASE})
    assert step == ([EGG], {APP: BASE, TOOL: BASE})


def test_cycles():
    assert cycle(WAITING) == []
    assert cycle({EGG: {HEN}}) == []  # it waits, but for no other that waits
    found = cycle({**WAITING, EGG: {HEN, BASE}, HEN: {EGG}})
    assert sorted(found) == [EGG, HEN]
    long = {APP: {TOOL}, TOOL: {BASE}, BASE: {APP}}
    found = cycle(long)
    assert all(found[i - 1] in long and found[i] in long[found[i - 1]] for i in range(3))


def test_a_cycle_is_broken_where_no_entry_is():
    assert to_break([EGG, HEN], {EGG}) == HEN
    assert to_break([HEN, EGG], {EGG, HEN}) == EGG


def test_questions_are_asked_in_parts():
    many = [Question("numpy", "2", ["sha256:" + "a" * 64] * 100)] * 20
    assert 0 < batch(many) < 20
    assert batch([Question("numpy", "2", ["a" * 100_000])]) == 1
    assert batch(many[:2]) == 2


def test_the_sources_of_a_build():
    fetches = [
        Fetch("https://index.example/f/toy-1.0.tar.gz", 1, "a" * 64),
        Fetch("https://index.example/f/helper-1-py3-none-any.whl", 1, "b" * 64),
        Fetch("https://index.example/f/helper-1.tar.gz", 1, "c" * 64),
        Fetch("https://index.example/f/toy-1.0.zip", 0, None, "its hash is wrong"),
    ]
    assert sources(fetches, "toy") == {"a" * 64}


WHEELS = [
    Locked("toy", "1.0", "toy-1.0-py3-none-any.whl", "a" * 64),
    Locked("metal", "2.0", "metal-2.0-cp313-cp313-linux_armv7l.whl", "b" * 64),
]


def test_the_lock_file_of_a_farm():
    text = requirements(WHEELS, ["x==1: not built: why"], "cp313", "pip install")
    assert text.splitlines()[2:] == [
        "# missing: x==1: not built: why",
        "metal==2.0 \\", f"    --hash=sha256:{'b' * 64}",
        "toy==1.0 \\", f"    --hash=sha256:{'a' * 64}",
    ]  # fmt: skip
    document = tomllib.loads(pylock(WHEELS, ["x==1: why"], "http://farm/simple/", "3.13"))
    lock = Pylock.from_dict(document)
    assert [each.name for each in lock.packages] == ["metal", "toy"]
    assert lock.packages[1].wheels[0].url == "http://farm/simple/toy/toy-1.0-py3-none-any.whl"
    assert Pylock.from_dict(tomllib.loads(pylock([], [], "http://farm/", "3.13"))).packages == []


def test_interpreters_are_found_by_path_and_by_version(tmp_path, monkeypatch):
    for place in (
        ".pyenv/versions/3.99.2",
        ".pyenv/versions/3.99.10",
        "uv/python/cpython-3.98.1-x",
    ):
        folder = tmp_path / place / "bin"
        folder.mkdir(parents=True)
        minor = "3.98" if "uv" in place else "3.99"
        (folder / f"python{minor}").touch(mode=0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv/python"))
    assert "3.99.10" in str(interpreter_named("3.99"))
    assert "3.99.2" in str(interpreter_named("3.99.2"))
    assert "cpython-3.98.1" in str(interpreter_named("3.98"))
    assert str(interpreter_named("/bin/sh")) == "/bin/sh"
    assert interpreter_named("sh").name == "sh"
    for text, words in (("3.97", "no Python 3.97 on this machine"), ("/no", "no interpreter /no")):
        with pytest.raises(Fatal, match=words):
            interpreter_named(text)
