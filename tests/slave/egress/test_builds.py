"""Real builds by pip through the proxy, in each sandbox, and attacks by the network."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import upstream
from build_network import Service
from helpers import BACKEND, PROJECT, patience, write_sdist
from hostile import inside, network
from piwheels.core.diagnosis import diagnose
from piwheels.core.host.processes import build_environment
from piwheels.core.protocols import slave_driver
from piwheels.slave.builder import Builder
from piwheels.slave.egress.gate import PORT, Egress, environment
from piwheels.slave.sandbox import landlock
from piwheels.slave.sandbox.choice import choose

#: A build that fetches one file more, once it compiles.
LATE = """import urllib.request
    for name in ("helper-1-py3-none-any.whl", "helper-2-py3-none-any.whl"):
        try:
            urllib.request.urlopen(os.environ["PIP_INDEX_URL"] + "helper/" + name)
            print("got", name, flush=True)
        except OSError as error:
            print(f"no {name}: {error}", flush=True)
"""
PIP = [sys.executable, "-I", "-m", "pip"]
#: A build that asks for more than it may, and says what came of it.
CURIOUS = """import urllib.request
    for url in ("http://evil.example/", "https://github.com/x"):
        try:
            urllib.request.urlopen(url, timeout=20)
        except OSError as error:
            print("curious:", error, flush=True)
    print("home:", sorted(os.listdir(os.path.expanduser("~"))))
    print("variables:", sorted(os.environ.items()))
"""


@pytest.fixture(params=["bwrap", "landlock", "none"])
def mode(request):
    return request.param


def build(index, folder, mode, seconds=60, **options):
    """Build demo 1.0, whose backend requires the package helper, from *index*."""
    settings = {"no-binary": "other", "extra-index-url": "", "proxy": ""}
    egress = Egress(settings, f"{index.url}simple/".replace("//", "//user:secret@", 1), **options)
    variables = environment(egress, folder, folder, PORT)
    sandbox = choose(mode, Path(sys.executable), PIP, folder, variables, PORT).sandbox
    with Builder(
        "demo", "1.0", dir=folder, pip=PIP, sandbox=sandbox, egress=egress,
        timeout=timedelta(seconds=patience(seconds)),
    ) as builder:  # fmt: skip
        builder.start()
        builder.join(patience(90))
        assert not builder.is_alive()
        message = reversed(slave_driver).to_send("BUILT", builder.as_message())
        assert tuple(message[4]) == builder.fetches
    return builder


@pytest.fixture
def sources(index, tmp_path):
    """Publish demo, which runs *act* when it is built, and helper, which it requires."""

    def make(act="pass"):
        folder = tmp_path / "sources"
        folder.mkdir()
        backend = BACKEND.format(name="demo", version="1.0", before=act, after="pass")
        project = PROJECT.replace("[]", '["helper"]')
        files = {"backend.py": f"import helper\n{backend}", "pyproject.toml": project}
        write_sdist(folder, "demo", "1.0", files)
        index.files.clear()
        index.put("demo", "demo-1.0.tar.gz", (folder / "demo-1.0.tar.gz").read_bytes())
        wheel = io.BytesIO()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("helper.py", "")
            about = "helper-1.dist-info/"
            archive.writestr(
                f"{about}METADATA", "Metadata-Version: 2.1\nName: helper\nVersion: 1\n"
            )
            archive.writestr(f"{about}WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{about}RECORD", "")
        index.put("helper", "helper-1-py3-none-any.whl", wheel.getvalue())

    return make


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "work"
    made.mkdir()
    yield made
    assert list(made.iterdir()) == []


@pytest.mark.parametrize("offline", [False, True])
def test_a_build_gets_what_it_requires_and_nothing_else(mode, offline, index, sources, folder):
    sources(CURIOUS)
    builder = build(index, folder, mode, offline=offline)
    assert builder.status, builder.output
    files = {Path(fetch.url).name: fetch for fetch in builder.fetches if not fetch.refused}
    assert set(files) == {"demo-1.0.tar.gz", "helper-1-py3-none-any.whl"}
    for about in (*index.files["demo"], *index.files["helper"]):
        assert files[about["filename"]].sha256 == about["hashes"]["sha256"]
    refused = {fetch.url for fetch in builder.fetches if fetch.refused}
    assert refused == {"evil.example:80", "github.com:443"}
    assert builder.output.count("curious: ") == 2
    assert builder.output.count("403") >= 2
    assert "piwheels: asked for github.com:443: refused (the host is not allowed)" in builder.output
    assert "home: []" in builder.output
    assert "secret" not in builder.output
    assert "('PIP_NO_BINARY', 'other')" in builder.output
    assert index.paths.count("/files/demo-1.0.tar.gz") == 1


def test_an_offline_build_compiles_without_what_it_has_not_fetched(index, sources, folder):
    sources(LATE)
    index.put("helper", "helper-2-py3-none-any.whl", b"2", **{"requires-python": "<3"})
    builder = build(index, folder, "bwrap", offline=True)
    assert builder.status, builder.output
    assert "got helper-1-py3-none-any.whl\n" in builder.output
    assert "no helper-2-py3-none-any.whl: HTTP Error 403" in builder.output
    assert "helper-2" not in str(index.paths)


def test_a_build_with_a_wrong_hash_fails_with_the_reason(mode, index, sources, folder):
    sources()
    index.files["demo"].clear()
    index.put("demo", "demo-1.0.tar.gz", b"evil", hashes={"sha256": "0" * 64})
    builder = build(index, folder, mode)
    assert not builder.status
    assert "its SHA256 is not the one that the index lists" in builder.output


def test_a_network_that_fails_is_the_fault_of_the_slave(index, sources, folder):
    sources()
    index.places["/simple/demo/"] = lambda *_: b""
    builder = build(index, folder, "none")
    assert not builder.status
    assert builder.output.count("piwheels: this slave cannot reach the index: ") == 1


def test_a_build_that_is_stopped_while_it_fetches_is_no_fault_of_the_network(
    index, sources, folder
):
    sources()
    index.places["/simple/demo/"] = lambda *args: upstream.hang(*args) or b""
    builder = build(index, folder, "none", seconds=2)
    assert not builder.status
    assert "its time-out" in builder.output
    assert "cannot reach" not in builder.output
    assert diagnose(builder.output, builder.ending).reason == "time-out"


# Attacks ------------------------------------------------------------------------------------------


@contextmanager
def services():
    """Services of the machine; yields the values of the placeholders of the attacks."""
    with ExitStack() as stack:
        port = stack.enter_context(Service("127.0.0.1")).port
        stack.enter_context(Service("127.0.0.3", port))
        stack.enter_context(Service("::1", port, socket.AF_INET6))
        proxy = stack.enter_context(Service("127.0.0.2")).port
        mailbox = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        mailbox.bind(("127.0.0.1", port))

        def answer():
            while (found := mailbox.recvfrom(9)) and found[0] != b"end":
                mailbox.sendto(b"hi", found[1])

        thread = threading.Thread(target=answer)
        thread.start()
        yield {"port": port, "proxy": proxy}
        mailbox.sendto(b"end", mailbox.getsockname())
        thread.join(patience(10))


def test_attacks_by_the_network_are_stopped(mode, tmp_path):
    if mode == "landlock" and landlock.version() < landlock.PORTS:
        pytest.skip("this kernel's Landlock does not know ports")
    variables = build_environment(tmp_path, tmp_path)
    with services() as places:
        proxy = places["proxy"]
        sandbox = choose(mode, Path(sys.executable), PIP, tmp_path, variables, proxy).sandbox
        attacks = [(attack.name, attack.code.format(**places)) for attack in network.ATTACKS]
        code = f"{inside.PRELUDE}{network.PRELUDE}"
        command = [sys.executable, "-I", "-c", inside.RUNNER, code, json.dumps(attacks)]
        work = tmp_path / "build"
        for each in ("home", "tmp"):
            (work / each).mkdir(parents=True)
        done = subprocess.run(
            sandbox.command(work, command, proxy), env=variables, cwd=work / "tmp",
            capture_output=True, text=True, timeout=patience(120), check=True,
        )  # fmt: skip
    succeeded = set(done.stdout.splitlines())
    must_stop = {attack.name for attack in network.ATTACKS if mode in attack.stopped_by}
    assert not succeeded & must_stop
    if mode == "none":
        assert succeeded == {attack.name for attack in network.ATTACKS}


def test_a_gate_serves_only_its_own_user(index, proxy, monkeypatch):
    client = proxy(f"{index.url}simple/")
    assert client.get("/0/demo/")[0] == 200
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert client.send(b"GET /0/demo/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n") == b""
