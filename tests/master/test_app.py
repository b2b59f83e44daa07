"""The master as a process: operators, hostile input, its end, and errors at start."""

import hashlib
import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import cbor2
import pytest
import zmq

from helpers import free_port, patience, until, wheel_bytes
from peers import Console, Slave
from piwheels.core import codec
from piwheels.core.database.dsn import administer
from piwheels.core.protocols import NoData
from piwheels.core.states import FileState
from piwheels.master.__main__ import main
from programs import ENV, QUEUES, command
from programs import running_master as master


@pytest.fixture
def run_dir():
    """A folder with a short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="piw-app-") as name:
        yield Path(name)


@contextmanager
def peer(kind, run_dir, name):
    with zmq.Context.instance().socket(kind) as socket:
        socket.linger = 500
        socket.connect(f"ipc://{run_dir}/{name}")
        yield socket


def hook(*args):  # cbor2 changed its signature
    tag = args[0] if hasattr(args[0], "tag") else args[1]
    return tag.value


def ask(socket, msg, seconds=5):
    socket.send(cbor2.dumps(msg))
    assert socket.poll(patience(seconds) * 1000), msg
    return cbor2.loads(socket.recv(), tag_hook=hook)


def greet(socket):
    waits = [cbor2.CBORTag(2001, [0, 3600, 0]), cbor2.CBORTag(2001, [0, 300, 0])]
    return ask(
        socket, ["HELLO", [*waits, "311", "cp311", "linux_x86_64", "old", "Debian", "12", "", ""]]
    )


def watch(run_dir, *wanted):
    """Attach as an old monitor does, and return the first message of each kind in *wanted*."""
    found = {}
    with peer(zmq.SUB, run_dir, "status") as status, peer(zmq.PUSH, run_dir, "control") as control:
        status.setsockopt(zmq.SUBSCRIBE, b"")
        end = time.monotonic() + patience(8)
        while not set(wanted) <= set(found):
            assert time.monotonic() < end, f"only {set(found)}"
            control.send(cbor2.dumps("HELLO"))
            while status.poll(300):
                msg, data = cbor2.loads(status.recv(), tag_hook=hook)
                found.setdefault(msg, data)
    return found


def check_public_sockets(run_dir):
    """Check that each public socket still answers valid requests."""
    with peer(zmq.REQ, run_dir, "slave") as slave:
        msg, (_, url) = greet(slave)
        assert (msg, bool(url)) == ("ACK", True)
        with peer(zmq.REQ, run_dir, "import") as tool:
            assert ask(tool, ["ADDPKG", ["demo", "", "", False, []]])[0] in ("DONE", "ERROR")
        found = watch(run_dir, "HELLO", "STATS", "SLAVE")
        assert found["SLAVE"][2] == "HELLO"
        with Console(f"ipc://{run_dir}/console").hello() as console:
            assert console.ask("SLAVES", 0)
        slave.send(cbor2.dumps("BYE"))


def scrape(process, path):
    """Ask the master of *process* over HTTP; return the status and the text."""
    log = process.stderr_file.read_text()
    port = re.search(r"/metrics at http://127\.0\.0\.1:(\d+)", log)[1]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=patience(5))
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_level_0_console_sees_a_level_0_slave_and_ends_the_only_master(run_dir, db_dsn, refused):
    with master(run_dir, db_dsn, "--monitor-port=0") as process:
        until(lambda: scrape(process, "/healthz") == (200, "ok\n"))
        known = (
            "piwheels_packages_built 0.0", 'piwheels_messages_refused_total{task="seraph"} 0.0',
            'piwheels_task_turn_seconds{task="cloud_gazer"}', "piwheels_pages_pending ",
            "piwheels_transfers_open 0.0", "piwheels_disk_free_bytes ",
        )  # fmt: skip
        until(lambda: all(line in scrape(process, "/metrics")[1] for line in known))
        with peer(zmq.REQ, run_dir, "slave") as slave:
            assert greet(slave)[0] == "ACK"
            found = watch(run_dir, "HELLO", "STATS", "SLAVE")
        assert len(found["HELLO"]) == 6
        assert len(found["STATS"]) == 19
        slave_id, _, message, data = found["SLAVE"]
        assert (slave_id, message, data[5]) == (1, "HELLO", "old")
        status, message, _ = refused(command(run_dir, db_dsn))
        assert status == 1
        assert "another master" in message
        with peer(zmq.PUSH, run_dir, "control") as control:
            control.send(cbor2.dumps("QUIT"))
        assert process.wait(patience(20)) == 0
    assert (run_dir / "site/simple/index.html").exists()
    assert not [path for path in run_dir.rglob("*.tmp") if path.is_file()]


def test_the_master_survives_any_bytes_on_any_socket_and_ctrl_c_ends_it(run_dir, db_dsn):
    rng = random.Random(1)  # noqa: S311 (a fixed seed, so that a failure can be repeated)
    names = ["HELLO", "KILL", "SLEEP", "SKIP", "WAKE", "BUILT", "SENT", "FETCH", "CHUNK", "IMPORT"]
    values = [None, -1, 2**63, 2**200, 1.5, "x" * 300, b"", [], {}, [[[]]] * 20, True, [None] * 11]

    def frame():
        match rng.randrange(5):
            case 0:
                return rng.randbytes(rng.randrange(60))
            case 1:
                return cbor2.dumps(rng.choice(names))
            case 2:
                return rng.choice(names).encode()
            case 3:
                return b"\x9f" * rng.randrange(2000)
        return cbor2.dumps([rng.choice(names), rng.choice(values)])

    with master(run_dir, db_dsn) as process:
        kinds = {"control": zmq.PUSH, "log": zmq.PUSH, "import": zmq.DEALER, "slave": zmq.DEALER,
                 "file": zmq.DEALER, "status": zmq.SUB, "console": zmq.DEALER}  # fmt: skip
        for name, kind in kinds.items():
            with peer(kind, run_dir, name) as socket:
                if kind == zmq.SUB:
                    socket.setsockopt(zmq.SUBSCRIBE, rng.randbytes(5000))
                    continue
                for number in range(300):
                    frames = [frame() for _ in range(rng.randrange(1, 4))]
                    if kind == zmq.DEALER and number % 2:
                        frames = [rng.randbytes(8) if name == "console" else b"", frame()]
                    socket.send_multipart(frames)
                if name == "console":
                    socket.send_multipart([bytes(8), bytes(2**24)])
            with suppress(OSError), plain_socket() as stranger:  # bytes that are not ZeroMQ
                stranger.settimeout(1)
                stranger.connect(f"{run_dir}/{name}")
                stranger.sendall(rng.randbytes(2000))
        with peer(zmq.PUSH, run_dir, "control") as control:
            control.send(cbor2.dumps(["WAKE", None]))  # in case a random message was a command
        check_public_sockets(run_dir)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(patience(20)) == 0
    assert {path.name for path in run_dir.iterdir()} <= {
        *QUEUES, "farm.toml", "site", ".site.work", "stderr",
    }  # fmt: skip


def plain_socket():
    return socket.socket(socket.AF_UNIX)


def drip(port, over):
    """Send a byte of a greeting now and then."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
        for byte in b"\xff" + bytes(8) + b"\x7f":
            connection.sendall(bytes([byte]))
            if over.wait(0.2):
                return


def test_a_flood_keeps_no_slave_from_its_build(run_dir, db_dsn, db):
    """Few open files, and more clients than that: no connection is refused to the slave."""
    db.add_build_abi("cp311")
    db.add_new_package("demo")
    db.add_new_package_version("demo", "1.0", datetime.now(UTC))
    content, name = wheel_bytes("demo"), "demo-1.0-py3-none-any.whl"
    digest = hashlib.sha256(content).hexdigest()
    file = FileState(name, len(content), digest, *name[:-4].split("-"), None, {}).as_message()
    ports = {each: free_port() for each in ("slave", "file")}
    addresses = {each: f"tcp://127.0.0.1:{port}" for each, port in ports.items()}
    queues = [f"--{each}-queue={address}" for each, address in addresses.items()]
    config = SimpleNamespace(slave_queue=addresses["slave"], file_queue=addresses["file"])
    over = threading.Event()
    with master(run_dir, db_dsn, *queues, files=500) as process, ExitStack() as flood:
        flood.callback(over.set)
        for port in ports.values():
            threading.Thread(target=drip, args=(port, over)).start()
        kinds = {"control": zmq.PUSH, "log": zmq.PUSH, "import": zmq.DEALER, "console": zmq.DEALER,
                 "slave": zmq.DEALER, "file": zmq.DEALER}  # fmt: skip
        for kind, socket_type in kinds.items():
            for number in range(300 if kind == "control" else 10):
                one = flood.enter_context(zmq.Context.instance().socket(socket_type))
                one.linger = 0
                one.connect(addresses.get(kind, f"ipc://{run_dir}/{kind}"))
                one.send_multipart([cbor2.dumps("HELLO")] if kind == "control" else
                                   [b"", b"\x9f" * 1000 * number])  # fmt: skip
        for _ in range(300):  # they say nothing
            mute = flood.enter_context(socket.socket(socket.AF_UNIX))
            mute.setblocking(False)
            with suppress(BlockingIOError):
                mute.connect(f"{run_dir}/status")
        with Slave(config) as slave:
            slave.hello()
            assert slave.work() == ["demo", "1.0"]
            assert slave.built(file) == ("SEND", name)
            slave.send(content)
            assert slave.say("SENT") == ("DONE", NoData)
        warned = f"of user {os.geteuid()} to ipc://{run_dir}/control: too many connections"
        until(lambda: warned in process.stderr_file.read_text())
    (build,) = db.get_recent_builds()
    assert build.status


@pytest.fixture
def refused(monkeypatch, capfd):
    """Run a master that cannot start; return exit status, last line and number of lines."""
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)

    def run(args):
        try:
            status = main(args[3:])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert out == ""
        lines = err.strip().splitlines()
        assert lines[-1].startswith("piw-master: "), err
        return status, lines[-1], len(lines)

    return run


def test_a_missing_or_outdated_database_gives_an_error_message(
    run_dir, server_dsn, superuser_dsn, refused
):
    status, message, lines = refused(command(run_dir, "postgresql:///x?host=/nonexistent"))
    assert (status, lines) == (1, 1)
    assert "--dsn" in message
    administer(superuser_dsn, "UPDATE public.configuration SET version = '0.0'")
    status, message, lines = refused(command(run_dir, superuser_dsn))
    assert (status, lines) == (1, 1)
    assert "piw-initdb" in message
    status, message, lines = refused(command(run_dir, server_dsn))
    assert (status, lines) == (1, 1)
    assert "piw-initdb" in message
    assert refused(command(run_dir, "mysql://x/y"))[0] == 1


def test_an_unwritable_output_path_gives_an_error_message(run_dir, module_dsn, refused):
    status, message, lines = refused(command(run_dir, module_dsn, "--output-path=/proc/x/site"))
    assert (status, lines) == (1, 1)
    assert "/proc/x" in message


def test_a_port_in_use_gives_an_error_message(run_dir, module_dsn):
    with zmq.Context.instance().socket(zmq.PULL) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        done = subprocess.run(
            command(run_dir, module_dsn, f"--slave-queue=tcp://127.0.0.1:{port}"),
            check=False, env=ENV, capture_output=True, text=True, timeout=patience(60),
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert re.match(f"piw-master: .*{port} is in use", last)


def test_unknown_options_and_keys_give_an_error_message(run_dir, module_dsn, refused):
    status, message, _ = refused(command(run_dir, module_dsn, "--debug=nobody"))
    assert status == 1
    assert "no such task" in message
    status, message, _ = refused(command(run_dir, module_dsn, "--colour"))
    assert status == 2
    assert "--colour" in message
    file = run_dir / "config.toml"
    file.write_text("[master]\ncolour = 1\nshape = 2\n")
    status, message, lines = refused(command(run_dir, module_dsn, "-c", str(file)))
    assert (status, lines) == (1, 1)
    assert "colour" in message
    assert "shape" in message
    assert refused(command(run_dir, module_dsn, "--slave-queue=5555"))[0] == 2


def test_a_task_that_dies_ends_the_master_with_a_status(run_dir, db_dsn):
    script = (
        "import sys\nfrom piwheels.master import app\n"
        "def die(self): raise KeyError('a bug')\n"
        "from piwheels.master.__main__ import main\n"
        "app.TheArchitect.once = die\nsys.exit(main())"
    )
    args = [sys.executable, "-c", script, *command(run_dir, db_dsn)[3:]]
    done = subprocess.run(
        args, check=False, env=ENV, capture_output=True, text=True, timeout=patience(60)
    )
    assert done.returncode == 1
    assert "the_architect has ended" in done.stderr


def test_a_console_pauses_and_ends_the_master(run_dir, db_dsn):
    """Commands of a console have the same effects as commands on the control socket."""
    with (
        master(run_dir, db_dsn) as process,
        Console(f"ipc://{run_dir}/console", "an operator").hello() as console,
        peer(zmq.PUSH, run_dir, "control") as control,
        peer(zmq.REQ, run_dir, "slave") as slave,
    ):
        assert watch(run_dir, "HELLO")["HELLO"][0] == console.welcome.info.started
        assert not console.welcome.paused
        greet(slave)
        assert console.ask("SLEEP", None) == []
        until(lambda: console.hello().welcome.paused)
        slave.send(codec.dumps("IDLE", [datetime.now(UTC), 1, 1, 1, 1, 1, 1, 0.5, 40.0]))
        assert slave.poll(patience(5000))
        assert codec.loads(slave.recv()) == ("SLEEP", True)
        control.send(codec.dumps("WAKE", None))
        until(lambda: not console.hello().welcome.paused)
        assert [console.event("COMMAND")[1][:2] for _ in range(2)] == [
            ("an operator", "SLEEP"), ("control", "WAKE"),
        ]  # fmt: skip
        assert console.ask("QUIT") is NoData
        assert process.wait(patience(20)) == 0
    assert "an operator said QUIT" in process.stderr_file.read_text()


def test_requested_pages_are_written_after_a_kill(run_dir, db_dsn, db):
    packages = [f"package-{number}" for number in range(20)]
    for package in packages:
        db.add_new_package(package)
    patient = [arg for arg in command(run_dir, db_dsn) if arg != "--dev-mode"]
    with subprocess.Popen(patient, env=ENV, stderr=subprocess.DEVNULL) as process:
        try:
            with peer(zmq.REQ, run_dir, "import") as tool:
                assert ask(tool, ["REBUILD", ["BOTH", None]], 30) == ["DONE", "REBUILD"]
        finally:
            process.kill()
    pages = [run_dir / "site/project" / package / "index.html" for package in packages]
    assert not any(page.exists() for page in pages)
    with master(run_dir, db_dsn):
        until(lambda: all(page.exists() for page in pages) and not db.load_rewrites_pending(), 30)
