"""A wheel for armhf from nothing: a root is made, and a build with a compiler runs in it.

That takes a minute of this machine, and a mirror of Debian: only with PIW_TEST_EMULATION=1.
"""

import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from helpers import patience, write_sdist
from hostile import inside
from piwheels.core.host.processes import build_environment
from piwheels.core.wheels.dependencies import System as Libraries
from piwheels.core.wheels.integrity import verify_wheel
from piwheels.slave.builder import Builder
from piwheels.slave.egress.gate import PORT, Egress, environment
from piwheels.slave.emulation.architectures import System
from piwheels.slave.emulation.making import find_or_make
from piwheels.slave.emulation.offers import (
    emulated_sandbox,
    interpreters,
    pip_of,
    unavailable,
)
from piwheels.slave.selfcheck import check

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("PIW_TEST_EMULATION") != "1", reason="PIW_TEST_EMULATION is not 1"
    ),
]

#: A backend that compiles a module which needs zlib.
BACKEND = """
import base64, hashlib, subprocess, sysconfig, zipfile

C = '''
#include <Python.h>
const char *zlibVersion(void);
static double twice(double x) { return 2 * x; }
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "demo"};
PyMODINIT_FUNC PyInit_demo(void) {
    PyObject *module = PyModule_Create(&def);
    PyModule_AddStringConstant(module, "zlib", zlibVersion());
    PyModule_AddObject(module, "four", PyFloat_FromDouble(twice(2)));
    return module;
}
'''

def build_wheel(folder, config_settings=None, metadata_directory=None):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    open("demo.c", "w").write(C)
    headers = "-I" + sysconfig.get_path("include")
    subprocess.run(["cc", "-shared", "-fPIC", headers, "demo.c", "-o", "x.so", "-lz"], check=True)
    python = "cp" + sysconfig.get_config_var("py_version_nodot")
    tag = f"{python}-{python}-" + sysconfig.get_platform().replace("-", "_")
    files = {
        "demo" + suffix: open("x.so", "rb").read(),
        "demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n",
        "demo-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\\nTag: {tag}\\n".encode(),
    }
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(data)}\\n"
    files["demo-1.0.dist-info/RECORD"] = (record + "demo-1.0.dist-info/RECORD,,\\n").encode()
    name = f"demo-1.0-{tag}.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
    return name
"""


@pytest.fixture(scope="module")
def armhf(tmp_path_factory):
    """Return an interpreter for armhf, in a new root."""
    system, cache = System("armhf"), tmp_path_factory.mktemp("cache")
    if why := unavailable(system):
        pytest.skip(why)
    try:
        find_or_make(system, cache)
    except LookupError as error:
        if "apt-get" not in str(error):
            raise
        pytest.skip(f"no mirror of Debian: {error}")
    (found,) = interpreters([system], cache)
    return found


@pytest.fixture
def confined(armhf, tmp_path):
    """Return the sandbox of its builds, and what they reach: files of this machine."""
    egress = Egress({"no-index": "1", "find-links": str(tmp_path / "sources")}, "http://x.invalid/")
    variables = environment(egress, tmp_path, tmp_path, PORT)
    for name in ("sources", "work"):
        (tmp_path / name).mkdir()
    choice = emulated_sandbox(armhf.root, pip_of(armhf), tmp_path / "work", variables, PORT)
    return choice.sandbox, egress


def test_a_wheel_for_armhf(armhf, confined, tmp_path):
    sandbox, egress = confined
    write_sdist(tmp_path / "sources", "demo", "1.0", {"backend.py": BACKEND})
    assert armhf.platform == "linux_armv7l"
    assert check(armhf.path, pip_of(armhf), tmp_path, armhf.root) == ([], [])
    with Builder(
        "demo", "1.0", dir=tmp_path / "work", python=armhf.path, pip=pip_of(armhf),
        platform=armhf.platform, system=Libraries(armhf.root), sandbox=sandbox, egress=egress,
        timeout=timedelta(seconds=patience(300)),
    ) as builder:  # fmt: skip
        builder.start()
        builder.join(patience(400))
        assert builder.status, builder.output
        (wheel,) = builder.wheels
        assert wheel.filename == f"demo-1.0-{armhf.abi}-{armhf.abi}-linux_armv7l.whl"
        assert (wheel.trial.installs, wheel.trial.imports) == (True, True), wheel.trial
        assert "zlib1g" in wheel.libraries["apt"]
        verify_wheel(wheel.path)
    assert list((tmp_path / "work").iterdir()) == []


def test_attacks_from_inside_an_emulated_build_are_stopped(armhf, confined, short_dir, tmp_path):
    work = tmp_path / "attacks"
    for name in ("home", "tmp"):
        (work / name).mkdir(parents=True)
    secret = short_dir / "secret"
    secret.write_text("secret")
    places = {
        "secret": str(secret), "home": str(short_dir), "new": f"{short_dir}/new", "key": 1,
        "socket": f"{short_dir}/socket", "pid": os.getpid(), "host": os.uname().nodename,
        "other": f"{short_dir}/other",
    }  # fmt: skip
    attacks = [(each.name, each.code.format(**places)) for each in inside.ATTACKS]
    command = [str(armhf.path), "-I", "-c", inside.RUNNER, inside.PRELUDE, json.dumps(attacks)]
    done = subprocess.run(
        confined[0].command(work, command, PORT),
        env=build_environment(Path("/build/home"), Path("/build/tmp")), cwd=work / "tmp",
        capture_output=True, text=True, timeout=patience(300), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # That is the configuration of its root.
    assert done.stdout.split("\n") == ["lists the configuration", ""]
