from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from piwheels.core.errors import Fatal, Refused, Unavailable
from piwheels.core.host import pip_config
from piwheels.core.host.pip_config import (
    default_index,
    index_access,
    pip_command,
    source_versions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    index_access.cache_clear()
    yield folder
    index_access.cache_clear()


def offer(folder: Path, *names: str) -> None:
    for name in names:
        if name.endswith(".whl"):
            zipfile.ZipFile(folder / name, "w").close()
        else:
            tarfile.open(folder / name, "w:gz").close()


def test_the_index_is_the_one_that_pip_uses(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_index().startswith("https://")
    config = files / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://index.example/simple\ncert = /ca.pem\ntimeout = 5\n"
    )
    # The environment is stronger than the file.
    ways = {"CONFIG_FILE": str(config), "INDEX_URL": "https://other.example/simple"}
    ways |= {"TIMEOUT": "7", "PROXY": "http://proxy.example:3128"}
    ways |= {"TRUSTED_HOST": "a.example b.example:8080"}
    for name, value in ways.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    index_access.cache_clear()
    assert index_access() == (
        "https://other.example/simple", "/ca.pem", None, "http://proxy.example:3128",
        ["a.example", "b.example:8080"], 7,
    )  # fmt: skip


def test_versions_with_sources(files: Path) -> None:
    offer(files, "demo-1.0.tar.gz", "demo-1.10.tar.gz", "demo-1.9.tar.gz", "demo-2.0rc1.tar.gz")
    offer(files, "demo-3.0-py3-none-any.whl", "early-1.0a1.tar.gz", "early-1.0a2.tar.gz")
    assert source_versions("Demo") == ["1.10", "1.9", "1.0"]
    assert source_versions("early")[0] == "1.0a2"


def test_versions_when_nothing_is_available(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(files, "binary-3.0-py3-none-any.whl")
    with pytest.raises(Refused, match="no source distribution") as caught:
        source_versions("binary")
    assert caught.value.code == "NOVER"
    with pytest.raises(Refused, match="no project") as caught:
        source_versions("nothing")
    assert caught.value.code == "NOPKG"
    with pytest.raises(Refused, match="not the name"):
        source_versions("--help")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    with pytest.raises(Unavailable, match="cannot be reached"):
        source_versions("nothing")


def test_a_pip_that_hangs(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_config, "QUESTION_SECONDS", 0.01)
    with pytest.raises(Unavailable):
        source_versions("demo")


def interpreter(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_pip_of_each_interpreter(tmp_path: Path) -> None:
    ours = [sys.executable, "-I", "-m", "pip"]
    assert pip_command() == pip_command(Path(sys.executable)) == ours
    new = interpreter(tmp_path / "new", "echo pip 24.2 from x")
    assert pip_command(new) == [str(new), "-I", "-m", "pip"]
    # One that our pip can build for from outside, without any pip or with an old one of its own.
    for own in ("exit 1", "echo pip 23.0.1 from x"):
        script = f'[ "$3" = pip ] && {{ {own}; exit; }}; exec {sys.executable} "$@"'
        path = interpreter(tmp_path / "old", script)
        assert pip_command(path) == [*ours, "--python", str(path)]
    # One that ours does not run on: then its own is better than none.
    path = interpreter(tmp_path / "odd", '[ "$3" = pip ] && echo pip 21.0 from x')
    assert pip_command(path) == [str(path), "-I", "-m", "pip"]
    with pytest.raises(Fatal, match="no pip"):
        pip_command(interpreter(tmp_path / "none", "exit 1"))
    with pytest.raises(Fatal, match="no pip"):
        pip_command(tmp_path / "missing")
