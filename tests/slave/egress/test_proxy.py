"""The proxy of a build, as a hostile build uses it, and as the client of a hostile index."""

import json
import re
import socket

import pytest

import upstream
from build_network import Service
from helpers import patience
from hostile.proxying import CASES
from piwheels.core import fetching
from piwheels.core.fetching import Limits, nearness
from piwheels.core.recipes import Recipe
from piwheels.slave.egress import ledger, mirror
from piwheels.slave.egress import proxy as module

DEMO = "/0/demo/demo-1.0.tar.gz"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_request_gets_nothing(case, index, proxy, caplog):
    client = proxy(f"{index.url}simple/", allowed={"allowed.example:443"})
    with Service("127.0.0.1") as far:
        place = str(far.port)
        answer = client.send(case.data.replace(b"{far}", place.encode()))
        statuses = re.findall(rb"^HTTP/1.1 (\d+)", answer, re.MULTILINE)
        assert tuple(map(int, statuses)) == case.statuses
        assert not far.is_reached
        if case.refused is not None:
            assert client.refused[case.refused.replace("{far}", place)]
    assert set(index.paths) <= {"/simple/demo/"}
    assert client.get("/0/demo/")[0] == 200
    assert "internal error during a build" not in caplog.text


def test_connections_that_say_nothing_harm_only_their_build(index, proxy, monkeypatch):
    monkeypatch.setattr(module, "IDLE", 2.0)
    hostile, honest = (proxy(f"{index.url}simple/") for _ in range(2))
    peers = [socket.socket() for _ in range(400)]
    try:
        for peer in peers:
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", hostile.port))
        assert honest.get("/0/demo/")[0] == 200
        for peer in peers[:200]:
            peer.close()
        assert hostile.send(b"") == b""
    finally:
        for peer in peers:
            peer.close()
    assert hostile.get("/0/demo/")[0] == 200


def test_the_ledger_is_limited(index, proxy, monkeypatch):
    monkeypatch.setattr(ledger, "MAX_REFUSED", 5)
    monkeypatch.setattr(ledger, "MAX_FETCHED", 2)
    client = proxy(f"{index.url}simple/")
    for number in range(20):
        assert client.get(f"http://evil{number}.example/")[0] == 403
        index.put("more", f"more-{number}.zip", b"more")
    assert len(client.refused) == 5
    statuses = [client.get(f"/0/more/more-{number}.zip")[0] for number in range(4)]
    assert statuses == [200, 200, 403, 403]
    assert len(client.fetched) == 2


# The index ----------------------------------------------------------------------------------------


def test_files_come_with_their_hashes(index, proxy):
    index.put("demo", "demo-1.0.whl", b"wheel", **{"core-metadata": {"sha256": "f" * 64}})
    client = proxy(f"{index.url}simple/")
    assert client.get(DEMO) == (200, client.get(DEMO)[1], b"demo" * 1000)
    found = client.fetched[f"{index.url}files/demo-1.0.tar.gz"]
    assert found.size == 4000
    assert found.sha256 == index.files["demo"][0]["hashes"]["sha256"]
    assert client.get(DEMO, method="HEAD")[2] == b""
    page = json.loads(client.get("/0/demo/", "Accept: application/vnd.pypi.simple.v1+json")[2])
    assert [file["url"] for file in page["files"]] == ["demo-1.0.tar.gz", "demo-1.0.whl"]
    assert b'<a href="demo-1.0.tar.gz#sha256=' in client.get("/0/demo/")[2]
    assert client.get("/0/other/")[0] == 404


def odd(**change):
    """A change of the entry of the file on the page of demo."""
    return lambda index: index.put("demo", "demo-2.0.zip", b"x" * 100, **change)


def at(path, answer):
    return lambda index: index.places.__setitem__(path, answer)


ZIP, FAR = "/0/demo/demo-2.0.zip", "http://127.0.0.2:{far}/x/demo-2.0.zip"
#: What an index does, what the build asks for, the status of the answer, and words of the reason.
INDEXES = {
    "a wrong hash": (odd(hashes={"sha256": "0" * 64}), ZIP, 403, "SHA256 is not the one"),
    "a wrong hash of another kind": (odd(hashes={"md5": "0" * 32}), ZIP, 403, "MD5 is not"),
    "no hash at all": (odd(hashes={}), ZIP, 200, "OK"),
    "a hash that is none": (odd(hashes={"sha256": "no"}), ZIP, 403, "SHA256 is not"),
    "wrong metadata": (
        lambda index: [
            odd(**{"core-metadata": {"sha256": "0" * 64}})(index),
            at("/files/demo-2.0.zip.metadata", upstream.answer(b"Name: demo"))(index),
        ],
        f"{ZIP}.metadata", 403, "SHA256 is not",
    ),
    "a cut file": (
        at("/files/demo-1.0.tar.gz", upstream.answer(b"demo", length=4000)), DEMO, 502, "Incomplete"
    ),
    "a longer file": (
        at("/files/demo-1.0.tar.gz", upstream.answer(b"demo" * 1001)), DEMO, 403, "SHA256"
    ),
    "an endless file": (
        at("/files/demo-1.0.tar.gz", lambda *_: upstream.HEAD + b"\r\n" + bytes(200_000)),
        DEMO, 403, "more than 100,000 bytes",
    ),
    "a lost file": (at("/files/demo-1.0.tar.gz", upstream.answer(b"", "404 No")), DEMO, 404, ""),
    "a redirect to this machine": (
        at("/files/demo-1.0.tar.gz", upstream.answer(b"", "302 Found", Location=FAR)),
        DEMO, 403, "an address of this machine",
    ),
    "a file on this machine": (odd(url=FAR), ZIP, 403, "an address of this machine"),
    "a page on this machine": (
        at("/simple/demo/", upstream.answer(b"", "302 Found", Location=FAR)),
        "/0/demo/", 403, "an address of this machine",
    ),
    "a page that redirects to a file": (
        at("/simple/demo/", upstream.answer(b"", "302 Found", Location="file:///etc/passwd")),
        "/0/demo/", 403, "not followed",
    ),
    "a file of this machine": (odd(url="file:///etc/demo-2.0.zip"), ZIP, 403, "does not list"),
    "a file by ftp": (odd(url="ftp://127.0.0.1/demo-2.0.zip"), ZIP, 403, "does not list"),
    "no archive": (odd(url="../../files/demo-2.0.zip/../../evil"), "/0/demo/evil", 403, "not list"),
    "a page of nonsense": (
        at("/simple/demo/", upstream.answer(b"[[[[")), "/0/demo/", 403, "cannot be read"
    ),
    "a page that is nested deeply": (
        at("/simple/demo/", upstream.answer(upstream.DEEP)), "/0/demo/", 403, "cannot be read"
    ),
    "a page without files": (
        at("/simple/demo/", upstream.answer(b'{"files": 5}')), "/0/demo/", 403, "no list of files"
    ),
    "a page of odd files": (
        at("/simple/demo/", upstream.answer(b'{"files": [1, null, [], {}, {"url": 5}]}')),
        "/0/demo/", 200, "OK",
    ),
    "a page of the wrong type": (
        at("/simple/demo/", upstream.answer(b"\0\xff", kind="image/png")), "/0/demo/", 200, "OK"
    ),
    "a page that is too large": (
        at("/simple/demo/", upstream.answer(b" " * 300_000)), "/0/demo/", 403, "more than 200,000"
    ),
    "a password, please": (
        at("/simple/demo/", upstream.answer(b"", "401 Unauthorized")), "/0/demo/", 502, "password"
    ),
    "an error": (
        at("/simple/demo/", upstream.answer(b"", "500 Oops")), "/0/demo/", 502, "it answers 500"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INDEXES)
def test_a_hostile_index_gives_the_build_nothing_wrong(name, index, proxy, monkeypatch):
    """The index is at 127.0.0.1, which counts as far away here; 127.0.0.2 is near."""
    act, path, status, words = INDEXES[name]
    near = {"127.0.0.1": 0}
    monkeypatch.setattr(fetching, "nearness", lambda ip: near.get(ip, nearness(ip)))
    monkeypatch.setattr(mirror, "MAX_FILE", 100_000)
    monkeypatch.setattr(mirror, "LIMITS", Limits(silence=patience(5), page=200_000))
    with Service("127.0.0.2") as far:
        act(index)
        place = str(far.port).encode()
        for each, answer in index.places.items():
            if isinstance(answer, bytes):
                index.places[each] = answer.replace(b"{far}", place)
        client = proxy(f"{index.url}simple/")
        found = client.get(path)
        assert found[0] == status
        assert words in found[1]
        assert not far.is_reached
    if status != 200:
        assert b"demo" * 4 not in found[2]
        assert b"x" * 50 not in found[2]
    assert len(client.refused) == (status == 403)
    assert len(client.notes) == (status == 502)


@pytest.mark.parametrize("name", upstream.OF_HTTP)
def test_every_fault_of_http_is_one_answer(name, index, proxy, monkeypatch):
    monkeypatch.setattr(mirror, "LIMITS", Limits(0.3, 1.0, 20_000, 20_000, 1000))
    client = proxy(f"{index.url}simple/")
    index.faults.append(upstream.OF_HTTP[name])
    assert client.get("/0/demo/")[0] in (200, 403, 404, 502)
    assert client.get("/0/other/")[0] == 404


def test_the_credentials_of_an_index_stay_on_the_slave(index, proxy):
    client = proxy(index.url.replace("http://", "http://user:secret@") + "simple/")
    assert client.get(DEMO)[0] == 200
    assert all(request.headers["authorization"] for request in index.asked)
    assert client.network.entries()[0].url == f"{index.url}files/demo-1.0.tar.gz"


# Allowed hosts ------------------------------------------------------------------------------------


def test_an_allowed_host_can_be_reached(index, proxy):
    place = index.url.removeprefix("http://").strip("/")
    client = proxy("", allowed={place})
    index.places["/moved"] = upstream.answer(b"", "302 Found", Location="http://evil.example/")
    url = f"{index.url}files/demo-1.0.tar.gz"
    assert client.get(url)[2] == b"demo" * 1000
    status, head, _ = client.get(f"{index.url}moved")
    assert (status, "Location: http://evil.example/" in head) == (302, True)
    assert client.get(f"{index.url}none")[0] == 404
    tunnel = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\nGET /none HTTP/1.1\r\n\r\n"
    answer = client.send(tunnel.encode())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"none")
    assert client.fetched[url].size == 4000
    assert client.fetched[place].size == len(answer.partition(b"\r\n\r\n")[2])


def test_an_allowed_name_does_not_lead_to_this_machine(index, proxy, monkeypatch):
    connected = socket.create_connection

    def resolve(place, *rest):
        return connected(("127.0.0.1", place[1]), *rest)

    port = index.url.rstrip("/").rpartition(":")[2]
    client = proxy("", allowed={f"rebound.example:{port}"})
    monkeypatch.setattr(socket, "create_connection", resolve)
    with socket.socket() as peer:
        peer.connect(("127.0.0.1", client.port))
        place = f"rebound.example:{port}"
        peer.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        peer.settimeout(patience(20))
        assert b"502" in peer.recv(65536)
    assert not index.asked


@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_host_of_a_recipe_does_not_lead_to_this_network(index, proxy, monkeypatch, is_allowed):
    connected = socket.create_connection
    place = "Intranet.example:" + index.url.rstrip("/").rpartition(":")[2]
    allowed = {place.lower()} if is_allowed else set()
    client = proxy("", Recipe(hosts=(place, "b.example")), allowed=allowed)
    local = lambda place, *rest: connected(("127.0.0.1", place[1]), *rest)  # noqa: E731
    monkeypatch.setattr(socket, "create_connection", local)
    monkeypatch.setattr(module, "nearness", lambda _: 1)  # a private address
    with connected(("127.0.0.1", client.port)) as peer:
        peer.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        peer.settimeout(patience(20))
        assert (b"200 OK" if is_allowed else b"one of this network") in peer.recv(65536)


def test_connections_go_through_the_proxy_of_the_slave(index, proxy):
    place = index.url.removeprefix("http://").strip("/")
    outer = proxy("", allowed={"far.example:443", place})
    settings = {"proxy": f"http://us%40er:pw@127.0.0.1:{outer.port}"}
    inner = proxy("", allowed={"far.example:443", place}, settings=settings)
    tunnel = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\nGET /none HTTP/1.1\r\n\r\n"
    assert inner.send(tunnel.encode()).endswith(b"none")
    assert list(outer.fetched) == list(inner.fetched) == [place]


# Offline ------------------------------------------------------------------------------------------


def test_a_sealed_build_gets_only_what_it_fetched(index, proxy):
    index.put("demo", "demo-2.0.zip", b"new")
    place = index.url.removeprefix("http://").strip("/")
    client = proxy(f"{index.url}simple/", allowed={place}, offline=True)
    assert client.get(DEMO)[0] == 200
    asked = len(index.asked)
    client.network.seal()
    assert [client.get(DEMO)[2] for _ in range(2)] == [b"demo" * 1000] * 2
    assert client.get("/0/demo/")[0] == 200
    assert client.get(ZIP)[0] == 403
    assert client.get("/0/other/")[0] == 403
    assert client.get(f"{index.url}x")[0] == 403
    assert b" 403 " in client.send(f"CONNECT {place} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert len(index.asked) == asked
    assert len(client.refused) == 4
