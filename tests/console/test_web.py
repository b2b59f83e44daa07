"""The console in a browser: access, and cleanup of its processes."""

import asyncio
import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import free_port, patience
from piwheels.console import web
from piwheels.console.config import ConsoleConfig
from piwheels.core.errors import Fatal

aiohttp = pytest.importorskip("aiohttp")

DEADLINE = 30
#: A server whose pages run another console, which is its first argument.
WITH_CONSOLE = """
import sys
from piwheels.console.app import main
sys.executable = sys.argv.pop(1)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def server(short_dir_of_module):
    with serving(short_dir_of_module) as (process, port):
        yield process, port


@pytest.fixture(scope="module")
def short_dir_of_module(tmp_path_factory):
    return tmp_path_factory.mktemp("web")


@contextlib.contextmanager
def serving(folder, program=("-m", "piwheels.console")):
    port = free_port()
    options = ["--web", "--web-port", str(port), "--status-queue", f"ipc://{folder}/status"]
    process = subprocess.Popen([sys.executable, *program, *options], stderr=subprocess.DEVNULL)
    try:
        wait(lambda: answers(port))
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE)
        finally:
            process.kill()
            process.wait()


def wait(wanted, why="it has not come to pass"):
    end = time.monotonic() + patience(DEADLINE)
    while not (found := wanted()):
        assert time.monotonic() < end, why
        time.sleep(0.05)
    return found


def answers(port):
    with contextlib.suppress(OSError):
        return get(port, "/")[0] == 200
    return False


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience(DEADLINE))
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()


def children(pid):
    """Return the running child processes of *pid*."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


@contextlib.asynccontextmanager
async def page(port, **query):
    async with aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{port}/ws"
        async with client.ws_connect(url, params=query) as socket:
            yield socket


async def drawn(socket, text):
    """Wait until the console has drawn *text*."""
    seen = ""
    async with asyncio.timeout(DEADLINE):
        while text not in seen:
            message = await socket.receive()
            assert message.type == aiohttp.WSMsgType.BINARY, f"it has ended: {message}"
            seen += message.data.decode("utf-8", "replace")


def test_a_page_shows_the_console_and_leaves_no_process(server):
    process, port = server

    async def look():
        async with page(port, width="100", height="30") as socket:
            await drawn(socket, "READ-ONLY")
            assert len(children(process.pid)) == 1

    asyncio.run(look())
    wait(lambda: not children(process.pid), "a console has stayed")
    assert process.poll() is None


def test_a_page_that_is_closed_immediately(server):
    process, port = server

    async def leave(after):
        async with page(port):
            await asyncio.sleep(after)

    async def all_of_them():
        await asyncio.gather(*(leave(after) for after in (0, 0.2, 0.6)))

    asyncio.run(all_of_them())
    wait(lambda: not children(process.pid), "a console has stayed")


def test_pages_that_send_invalid_messages(tmp_path):
    console = tmp_path / "console"  # it ends when it is asked to
    console.write_text("#!/bin/sh\nexec head -c 1\n")
    console.chmod(0o755)
    program = ["-c", WITH_CONSOLE, str(console)]

    async def talk(nonsense):
        async with page(port, width="-1", height="99999999") as socket:
            await socket.send_str(nonsense)
            async with asyncio.timeout(DEADLINE):
                while (await socket.receive()).type == aiohttp.WSMsgType.BINARY:
                    pass

    async def talk_all():
        await asyncio.gather(*map(talk, ("x", "1", "[]", '["stdin"]', '["resize", [1]]')))

    with serving(tmp_path, program) as (process, port):
        asyncio.run(talk_all())
        wait(lambda: not children(process.pid), "a console has stayed")
        assert answers(port)


@pytest.mark.parametrize("path", ["/", "/ws", "/static/js/textual.js"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_requests_from_other_sites_are_refused(server, path, headers):
    assert get(server[1], path, **headers)[0] in (400, 403)


def test_the_page_loads_nothing_from_elsewhere(server):
    port = server[1]
    status, headers, text = get(port, "/")
    assert status == 200
    assert f"ws://127.0.0.1:{port}/ws" in text
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    allowed = {source for each in policy.values() for source in each.split()}
    own = {f"ws://127.0.0.1:{port}", "'self'", "'none'", "'unsafe-inline'", "data:"}
    assert allowed <= own


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_console_outlives_the_server(tmp_path, sign):
    async def look(process, port):
        async with page(port) as socket:
            await drawn(socket, "READ-ONLY")
            found = children(process.pid)
            assert found
            process.send_signal(sign)
            async with asyncio.timeout(DEADLINE):
                while process.poll() is None:
                    await asyncio.sleep(0.05)
            return found

    with serving(tmp_path) as (process, port):
        consoles = asyncio.run(look(process, port))
        wait(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in consoles))


# The environment of a page's console --------------------------------------------------------------


def test_a_page_is_read_only_by_default(monkeypatch):
    monkeypatch.setenv("PIW_WEB", "1")
    monkeypatch.setenv("PIW_CONFIG", "/nowhere")
    environment = web.environment_of(ConsoleConfig(web=True, farm_name="farm1", replay=Path("x")))
    assert environment["PIW_READ_ONLY"] == "1"
    assert environment["PIW_WEB"] == "0"
    assert environment["PIW_FARM_NAME"] == "farm1"
    assert environment["PIW_REPLAY"] == str(Path("x").absolute())
    assert "PIW_CONFIG" not in environment
    steering = ConsoleConfig(web=True, web_control=True)
    assert web.environment_of(steering)["PIW_READ_ONLY"] == "0"
    careful = ConsoleConfig(web=True, web_control=True, read_only=True)
    assert web.environment_of(careful)["PIW_READ_ONLY"] == "1"


def test_a_port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = ConsoleConfig(web=True, web_port=taken.getsockname()[1])
        with pytest.raises(Fatal, match="cannot listen on"):
            web.run(config)


def test_a_recording_has_one_writer():
    with pytest.raises(Fatal, match="cannot --record"):
        web.run(ConsoleConfig(web=True, record=Path("x")))
