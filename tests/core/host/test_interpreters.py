from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.tags import sys_tags

from piwheels.core.errors import Fatal
from piwheels.core.host.interpreters import probe


def test_this_interpreter() -> None:
    result = probe()
    native = next(iter(sys_tags()))
    assert result.path == Path(sys.executable)
    assert result.py_version == "".join(map(str, sys.version_info[:2]))
    assert result.abi == native.abi
    assert result.platform.split("_", 1)[1] in native.platform


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "does not work"),
        ("echo hello", "not a Python"),
        ("echo '[1, 2, 3]'", "not a Python"),
        ("""echo '["311", "../x", "linux"]'""", "invalid tags"),
        ("echo broken >&2; exit 1", "broken"),
    ],
)
def test_others(tmp_path: Path, script: str, words: str) -> None:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    with pytest.raises(Fatal, match=words):
        probe(path)


def test_no_interpreter_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="No such file"):
        probe(tmp_path / "python")
