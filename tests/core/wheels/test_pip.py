"""Compares what is published with what pip installs: over the wheels of tests/hostile/wheels.py."""

import json
import subprocess
import sys

from helpers import patience
from hostile.wheels import corpus
from piwheels.core.errors import BadWheel
from piwheels.core.wheels.integrity import verify_wheel
from piwheels.core.wheels.tags import parse_filename

#: Installs wheels one after the other, and writes the last words of pip about each.
PIP = """
import contextlib, io, json, sys
from pip._internal.cli.main import main
said = []
for arguments in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(arguments)
    said.append(out.getvalue() or "it fails" if code else "")
json.dump(said, sys.stdout)
"""
OPTIONS = [
    "install", "--no-deps", "--no-index", "--no-compile", "--no-cache-dir", "--no-input", "-q",
    "--disable-pip-version-check", "--implementation=cp", "--python-version=3.11",
]  # fmt: skip


def test_pip_installs_each_wheel_that_is_published(tmp_path):
    found, calls = [], []
    for number, wheel in enumerate(corpus()):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / wheel.filename
        path.write_bytes(wheel.data)
        try:
            verify_wheel(path, package="demo-pkg", version="1.0")
        except BadWheel:
            path.unlink()
            continue
        name = parse_filename(wheel.filename)
        tags = [] if name.abi == "none" else [f"--abi={name.abi}"]
        tags += [f"--platform={each}" for each in name.platform.split(".") if each != "any"]
        calls.append([*OPTIONS, *tags, f"--target={folder}/site", str(path)])
        found.append(wheel.what)
    done = subprocess.run(
        [sys.executable, "-I", "-c", PIP], input=json.dumps(calls), capture_output=True, text=True,
        timeout=patience(120), check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert len(said) >= 25
    assert {what: words for what, words in zip(found, said, strict=True) if words} == {}
