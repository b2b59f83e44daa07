import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import anyio
import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from clocks import StepClock
from helpers import patience, until
from piwheels.serve import __main__ as serve
from piwheels.serve import limits
from piwheels.serve.limits import LimitedProtocol
from piwheels.serve.repeating import (
    LIFE,
    LONGEST_LIFE,
    MAX_STORED,
    RepeatingProtocol,
    Responses,
    simple_request,
)
from piwheels.serve.site import (
    HTML,
    JSON,
    ON_THEIR_WAY,
    SMALL,
    FileResponse,
    Site,
    Source,
    byte_range,
    negotiate,
    quality,
)
from site_requests import (
    BIG,
    MISSING,
    MOVED,
    MOVED_FAR,
    NEGOTIATION,
    PIP,
    RANGES,
    WHEEL,
    plant,
    plant_traps,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A site with a neighbour that must never be read."""
    base = tmp_path_factory.mktemp("serve")
    site = plant(base)
    plant_traps(base, site)
    return site


@pytest.fixture
def ask(tree):
    """A function that sends one request to the site."""

    def ask(path, method="GET", **headers):
        async def send():
            transport = httpx.ASGITransport(Site(tree))
            async with httpx.AsyncClient(transport=transport) as client:
                client.headers.clear()
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                return await client.request(method, f"http://site{path}", headers=named)

        return anyio.run(send)

    return ask


@pytest.mark.parametrize(
    ("accept", "kind", "body"),
    [
        *NEGOTIATION,
        # Only piw-serve respects this: nginx and Apache send JSON to any client that accepts it
        ("application/*", JSON, '{"project": 1}'),
        (f"{JSON};q=0.1, {HTML};q=0.2", HTML, "<project>"),
        (f"{JSON};q=0.5, */*;q=0.9", "text/html", "<project>"),
        (f"{JSON};q=2, text/html;q=x", "text/html", "<project>"),
    ],
)
def test_negotiation(ask, accept, kind, body):
    answer = ask("/simple/holy-grail/", **({} if accept is None else {"accept": accept}))
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.text == body
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.headers["cache-control"] == "max-age=60, must-revalidate"


def test_root_is_negotiated_too(ask):
    assert ask("/simple/", accept=PIP).json() == {"root": 1}
    assert ask("/simple/").text == "<root>"


def test_a_page_without_json_is_served_as_html(ask):
    assert ask("/simple/old/", accept=PIP).headers["content-type"] == HTML
    assert ask("/simple/old/", accept=JSON).headers["content-type"].startswith("text/html")


def test_forms_of_a_page_have_different_tags(ask):
    tags = {ask("/simple/holy-grail/", accept=kind).headers["etag"] for kind in (JSON, HTML, "*/*")}
    assert len(tags) == 3
    assert all(tag.startswith('"') for tag in tags), "strong ones"


@given(st.text(max_size=200))
def test_any_accept_is_answered(accept):
    weight, closeness = quality(accept, JSON)
    assert 0 <= weight <= 1
    assert closeness in {0, 1, 2}
    assert ("text/html; charset=utf-8", "index.html") in negotiate(accept)


@pytest.mark.parametrize(("path", "place"), [*MOVED, *MOVED_FAR])
def test_moved(ask, path, place):
    answer = ask(path)
    assert answer.status_code == 301
    assert answer.headers["location"] == place


@pytest.mark.parametrize(
    "path",
    [
        *MISSING,
        "/simple/.work", "/project/out/", "/project/out", "/project/work/", "/project/loop",
        "/project/loop/", "/out.txt", "/pipe.txt", "/../secret.txt", "/%2e%2e/secret.txt",
        "/..%2fsecret.txt", "/%2e%2e%2fsite/", "/simple/../../secret.txt", "/simple//evil.example",
        "/simple/%00", "/simple/holy-grail/%0d%0aX: y", "/simple/..%5c..", "/" + "a" * 5000,
        "/logs",
    ],
)  # fmt: skip
def test_absent_and_hidden_paths_are_not_found(ask, path):
    answer = ask(path)
    if answer.status_code == 301:  # a folder without an index
        answer = ask(answer.headers["location"])
    assert answer.status_code == 404
    assert answer.text == "<gone>"
    assert answer.headers["cache-control"] == "no-cache"


@given(path=st.text(max_size=60).map(lambda text: "/" + text))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_path_is_answered_from_inside(tree, path):
    answer = Site(tree).answer("GET", path, {})
    assert answer.status_code in {200, 301, 404}
    assert b"secret" not in bytes(answer.body)
    assert b"hidden" not in bytes(answer.body)


def test_missing_without_a_page_for_it(tmp_path):
    answer = Site(tmp_path / "nowhere").answer("GET", "/simple/x/", {})
    assert answer.status_code == 404
    assert bytes(answer.body) == b"This page does not exist.\n"


def test_alias_inside_the_site_is_followed(ask):
    assert ask("/project/Holy_Grail/").text == "<page>"
    assert ask("/project/holy-grail/json/").json() == {}
    assert ask("/").text == "<home>"
    assert ask("/space and ü.txt").text == "text"


def test_published_files_never_change(ask):
    wheel, metadata = (ask(f"/simple/holy-grail/{WHEEL}{end}") for end in ("", ".metadata"))
    assert wheel.content == BIG
    assert wheel.headers["content-length"] == str(len(BIG))
    assert wheel.headers["content-type"] == "application/octet-stream"
    assert metadata.headers["content-type"].startswith("text/plain")
    for answer in (wheel, metadata):
        assert answer.headers["cache-control"] == "max-age=31536000, immutable"
        assert answer.headers["accept-ranges"] == "bytes"


def test_head_says_the_same_without_a_body(ask):
    for path in (f"/simple/holy-grail/{WHEEL}", "/simple/holy-grail/", "/nothing"):
        full, head = ask(path), ask(path, "HEAD")
        assert head.status_code == full.status_code
        assert head.headers == full.headers
        assert head.content == b""


def test_other_methods_are_not_allowed(ask):
    answer = ask("/", "POST")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(("asked", "first", "last"), [*RANGES, ("bytes=-9999999", 0, 1048575)])
def test_ranges(ask, asked, first, last):
    answer = ask(f"/simple/holy-grail/{WHEEL}", range=asked)
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(BIG)}"
    assert answer.content == BIG[first : last + 1]


@pytest.mark.parametrize("asked", ["bytes=1048576-", "bytes=99999999-", "bytes=-0"])
def test_unsatisfiable_ranges(ask, asked):
    answer = ask(f"/simple/holy-grail/{WHEEL}", range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(BIG)}"


@pytest.mark.parametrize("asked", ["bytes=5-3", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=a"])
def test_unsupported_ranges_are_ignored(ask, asked):
    assert ask(f"/simple/holy-grail/{WHEEL}", range=asked).status_code == 200


@given(st.text(alphabet="bytes=-,0123456789٣ ", max_size=40), st.integers(0, 10**6))
def test_any_range_lies_within_the_file(field, size):
    part = byte_range(field, size)
    assert part is None or not part or (0 <= part.start < part.stop <= size)


def test_resumed_download_notices_another_file(ask):
    path = f"/simple/holy-grail/{WHEEL}"
    first = ask(path)
    for mark in (first.headers["etag"], first.headers["last-modified"]):
        assert ask(path, range="bytes=0-1", if_range=mark).status_code == 206
    for mark in ('"other"', "Thu, 01 Jan 1970 00:00:00 GMT", "nonsense"):
        assert ask(path, range="bytes=0-1", if_range=mark).status_code == 200


def test_unchanged_pages_are_not_sent_again(ask):
    first = ask("/simple/holy-grail/", accept=PIP)
    tag, modified = first.headers["etag"], first.headers["last-modified"]
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        again = ask("/simple/holy-grail/", accept=PIP, if_none_match=known)
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tag
        assert again.headers["vary"] == "Accept, Accept-Encoding"
    assert ask("/simple/holy-grail/", accept=PIP, if_none_match='"x"').status_code == 200
    assert ask("/simple/holy-grail/", accept=HTML, if_none_match=tag).status_code == 200
    assert ask("/simple/holy-grail/", if_modified_since=modified).status_code == 304
    for moment in ("Thu, 01 Jan 1970 00:00:00 GMT", "nonsense", ""):
        assert ask("/simple/holy-grail/", if_modified_since=moment).status_code == 200


def test_logs_are_decompressed_by_capable_clients(ask):
    path = "/logs/0000/0000/0001.txt.gz"
    packed = ask(path, "HEAD")
    assert packed.headers["content-type"] == "application/octet-stream"
    shown = ask(path, "HEAD", accept_encoding="br, gzip")
    assert shown.headers["content-encoding"] == "gzip"
    assert shown.headers["content-type"].startswith("text/plain")
    assert shown.headers["etag"] != packed.headers["etag"]
    assert "content-encoding" not in ask(path, "HEAD", accept_encoding="gzip;q=0").headers


# -- the program


@contextmanager
def serving(tree):
    """Run piw-serve; yield its process, with its address as ``url``."""
    with serve.listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "piwheels.serve", "-o", str(tree), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        process.url = process.stderr.readline().split()[-1]
        yield process
        process.kill()


@pytest.fixture(scope="module")
def client(tree):
    with serving(tree) as server, httpx.Client(base_url=server.url) as client:
        yield client


@pytest.fixture
def port(client):
    return client.base_url.port


def test_the_server_answers_and_stops_on_a_signal(tree):
    with serving(tree) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/simple/holy-grail/", headers={"accept": PIP}).json() == {"project": 1}
        assert client.get(f"/simple/holy-grail/{WHEEL}").content == BIG
        assert "server" not in client.head("/").headers
        odd = client.get("/simple/Holy_Grail", follow_redirects=True)
        assert odd.text == "<project>"
        server.terminate()
        assert server.wait(patience(10)) == 0
        assert server.stderr.read() == ""


def test_server_survives_any_bytes(port):
    for noise in (b"\0" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02", b"GET /%zz HTTP/9.9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), 5) as stream:
            stream.sendall(noise)
            stream.shutdown(socket.SHUT_WR)
            stream.settimeout(5)
            while stream.recv(4096):
                pass
    assert talk(port).endswith(b"<home>")


LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def talk(port, *turns):
    """Send each of *turns* after the response to the one before ended as it says; return all."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 5) as stream:
        stream.settimeout(patience(10))
        for piece, end in turns:
            stream.sendall(piece)
            while not answer.endswith(end):
                answer += stream.recv(65536)
            if not end:
                time.sleep(0.05)  # only so that the pieces arrive one by one
        stream.sendall(LAST)
        return answer + b"".join(iter(lambda: stream.recv(65536), b""))


@pytest.mark.parametrize(
    "path", ["/simple/holy-grail/", f"/simple/holy-grail/{WHEEL}", "/simple/x"]
)
def test_an_equal_request_gets_an_equal_response(client, path):
    answers = [client.get(path, headers={"accept": PIP}) for _ in range(3)]
    assert len({(each.status_code, each.content) for each in answers}) == 1
    assert all(dict(each.headers).keys() == dict(answers[0].headers).keys() for each in answers)
    assert all(each.headers["x-content-type-options"] for each in answers if each.is_success)


def test_the_rest_of_a_request_is_not_another_request(port):
    whole = b"GET /simple/old/ HTTP/1.1\r\nHost: x\r\n\r\n"
    # The stored request arrives as the body of another one, and as the end of its last header
    posted = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(whole)
    answer = talk(port, (whole, b"<old>"), (posted, b""), (whole, b""))
    assert (answer.count(b"<old>"), answer.count(b"405 Method")) == (1, 1)
    part = b"GET / HTTP/1.1\r\nHost: x\r\nX-Odd: "
    answer = talk(port, (whole, b"<old>"), (part, b""), (whole, b"<home>"))
    assert answer.count(b"<old>") == 1


def test_many_requests_at_once_are_answered_in_order(client, port):
    pages = [b"/simple/old/", f"/simple/holy-grail/{WHEEL}".encode(), b"/", b"/simple/old/"]
    asked = [b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % page for page in pages]
    found = [client.get(page.decode()).content for page in pages]
    answer = talk(port, (b"".join(asked), b""), *((each, b"") for each in asked))
    start = 0
    for body in (*found, *found, b"<home>"):
        start = answer.index(body, start) + len(body)
    assert start == len(answer)


def test_stored_responses_expire_and_are_limited():
    clock = StepClock()
    responses = Responses(clock)
    responses.put(b"a", 200, [(b"x", b"y")], b"one", None)
    assert responses.get(b"a").head == b"HTTP/1.1 200 OK\r\nx: y\r\n"
    clock.advance(LIFE + 0.1)
    assert responses.get(b"a") is None
    for number in range(100):
        responses.put(b"%d" % number, 200, [], bytes(MAX_STORED // 10), None)
    kept = [number for number in range(100) if responses.get(b"%d" % number)]
    assert kept == list(range(91, 100))


@pytest.mark.parametrize("change", ["rewritten", "removed", "replaced", "unreadable"])
def test_a_response_is_repeated_until_its_file_changes(tmp_path, change):
    clock, path = StepClock(), tmp_path / "page"
    path.write_bytes(b"one")
    responses = Responses(clock)
    responses.put(b"a", 200, [], b"one", Source.of(str(path), path.stat()))
    for _ in range(3):
        clock.advance(LIFE + 0.1)
        assert responses.get(b"a").body == b"one"
    about = path.stat()
    match change:
        case "rewritten":
            path.write_bytes(b"two")
            os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        case "removed":
            path.unlink()
        case "replaced":
            path.rename(path.with_name("other"))
            path.symlink_to("other")
        case "unreadable":
            path.chmod(0)
    clock.advance(LIFE - 0.1)
    assert responses.get(b"a") is not None
    clock.advance(0.2)
    assert responses.get(b"a") is None


def test_no_response_is_repeated_for_longer_than_pages_are_cached(tmp_path):
    clock, path = StepClock(), tmp_path / "page"
    path.write_bytes(b"one")
    responses = Responses(clock)
    responses.put(b"a", 200, [], b"one", Source.of(str(path), path.stat()))
    for _ in range(2 * int(LONGEST_LIFE) - 1):
        clock.advance(0.5)
        assert responses.get(b"a") is not None
    clock.advance(0.6)
    assert responses.get(b"a") is None


def test_a_changed_page_is_served_after_a_second(client, tree):
    page = tree / "passing.html"
    page.write_text("one")
    assert [client.get("/passing.html").text for _ in range(2)] == ["one", "one"]
    page.write_text("three")
    until(lambda: client.get("/passing.html").text == "three")
    page.unlink()
    until(lambda: client.get("/passing.html").status_code == 404)


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(tree):
    seconds = patience(0.25)

    async def run():
        config = uvicorn.Config(
            Site(tree), http="httptools", timeout_keep_alive=seconds, lifespan="off"
        )
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        protocol = partial(RepeatingProtocol, Site(tree, wait=False), config, state, {})
        server = await loop.create_server(protocol, "127.0.0.1")
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        started = loop.time()
        while loop.time() < started + 2 * seconds:  # the same request: the response is repeated
            writer.write(b"GET /simple/old/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"<old>")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(seconds / 8)
        last = loop.time()
        assert await reader.read() == b""
        assert loop.time() - last > seconds / 2
        writer.close()
        server.close()

    asyncio.run(run())


@asynccontextmanager
async def in_this_process(tree):
    """Serve *tree* in this process; yield the address."""
    config = uvicorn.Config(Site(tree), http="httptools", lifespan="off")
    config.load()
    state = ServerState()
    protocol = partial(RepeatingProtocol, Site(tree, wait=False), config, state, {})
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        async with asyncio.timeout(patience(10)):
            await asyncio.gather(*state.tasks)  # a cancelled one would leave its file open


ENDLESS = {
    "half a line": (b"GET /index", b"x"),
    "headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"),
    "a body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", b"x"),
    "nothing": (b"", b""),
}


async def is_cut(reader, seconds=10):
    """Read until the server ends the connection."""
    with suppress(ConnectionError):
        async with asyncio.timeout(patience(seconds)):
            while await reader.read(65536):
                pass


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_request_must_arrive_in_time(tree, monkeypatch, kind):
    monkeypatch.setattr(limits, "REQUEST_TIME", 0.3)

    async def run():
        async with in_this_process(tree) as place:
            reader, writer = await asyncio.open_connection(*place)
            first, more = ENDLESS[kind]
            writer.write(first)

            async def drip():
                while True:
                    writer.write(more)
                    await asyncio.sleep(0.05)

            slowly = asyncio.create_task(drip())
            await is_cut(reader)
            slowly.cancel()
            writer.transport.abort()

    asyncio.run(run())


@pytest.mark.parametrize(
    "flood",
    [
        b"GET / HTTP/1.1\r\nX: " + b"y" * 2**17,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"y" * 2**17,
        f"GET /simple/holy-grail/{WHEEL} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 1000,
    ],
)
def test_a_request_has_a_size_and_few_wait(tree, flood):
    async def run():
        async with in_this_process(tree) as place:
            reader, writer = await asyncio.open_connection(*place)
            writer.write(flood)
            await is_cut(reader)
            writer.transport.abort()

    asyncio.run(run())


def test_a_client_must_read_its_response(tree, monkeypatch):
    monkeypatch.setattr(limits, "READ_TIME", 0.2)
    (tree / "large.bin").write_bytes(bytes(30 * 2**20))

    async def run():
        async with in_this_process(tree) as place:
            with socket.socket() as mute:
                mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                mute.connect(place)
                mute.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                async with asyncio.timeout(patience(10)):
                    while LimitedProtocol.places == {}:
                        await asyncio.sleep(0.01)
                    while LimitedProtocol.places:
                        await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_newcomer_gets_a_place_of_whoever_has_most(tree, monkeypatch):
    monkeypatch.setattr(limits, "MOST", 5)

    async def run():
        async with in_this_process(tree) as place:
            crowd = [await asyncio.open_connection(*place) for _ in range(5)]
            other = ("127.0.0.2", 0)
            reader, writer = await asyncio.open_connection(*place, local_addr=other)
            writer.write(LAST)
            assert (await reader.read()).endswith(b"<home>")
            await is_cut(crowd[0][0])
            writer.transport.abort()
            for _, one in crowd:
                one.transport.abort()

    asyncio.run(run())


def test_large_files_are_sent_in_blocks_that_share_the_memory(tree, monkeypatch):
    blocks = []

    async def run(response):
        async def send(event):
            blocks.append(len(event.get("body", b"")))

        await response({"type": "http"}, None, send)

    page = f"/simple/holy-grail/{WHEEL}"
    asyncio.run(run(Site(tree).answer("GET", page, {})))
    assert blocks == [0, len(BIG)]
    blocks.clear()
    monkeypatch.setattr(FileResponse, "_on_their_way", ON_THEIR_WAY)
    asyncio.run(run(Site(tree).answer("GET", page, {})))
    assert set(blocks[1:]) == {SMALL}
    assert sum(blocks) == len(BIG)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"GET /a/ HTTP/1.1\r\nHost: x\r\nACCEPT:\ty z \r\naccept: q\r\n\r\n",
         ("/a/", {"host": "x", "accept": "y z"})),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nCONNECTION: close\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nX: \xe9\r\n\r\n", None),
        (b"GET /%61 HTTP/1.1\r\nHost: x\r\n\r\n", None),
        (b"GET / HTTP/1.0\r\n\r\n", None),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"a" * 5000), None),
    ],
)  # fmt: skip
def test_which_requests_are_simple(data, found):
    assert simple_request(data) == found


def test_a_file_that_is_not_in_memory_is_left_to_a_thread(tree, monkeypatch):
    page = "/simple/holy-grail/"
    found = Site(tree, wait=False).answer("GET", page, {})
    assert found.body == Site(tree).answer("GET", page, {}).body
    monkeypatch.setattr(os, "preadv", lambda _, buffers, *__: len(buffers[0]) - 1)
    with pytest.raises(BlockingIOError):
        Site(tree, wait=False).answer("GET", page, {})


def test_port_in_use_is_one_sentence(tree, capsys):
    with serve.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert serve.main(["-o", str(tree), "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"piw-serve: cannot listen on 127.0.0.1 port {port}: Address already")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["-o", "/dev/null/site"], "not a directory"),
        (["--host", "no.such.invalid."], "cannot listen on"),
    ],
)
def test_other_errors_are_sentences(tree, capsys, more, what):
    assert serve.main(["-o", str(tree), "--port", "0", *more]) == 1
    said = capsys.readouterr().err
    assert what in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("port", ["70000", "-1", "http", "٣"])
def test_an_invalid_port_is_a_usage_error(port):
    with pytest.raises(SystemExit) as end:
        serve.main(["--port", port])
    assert end.value.code == 2
