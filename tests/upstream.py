"""A toy of an upstream index: a changelog (XML-RPC), a simple API (JSON), and sixty ways to fail.

It speaks HTTP by hand, since much of what it says is none.
"""

import gzip
import json
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from email.utils import formatdate
from xmlrpc.client import dumps, loads

from helpers import patience

JSON = "application/vnd.pypi.simple.v1+json"


class Request:
    """A request: *method*, *path*, *headers* (names in small letters), *body*."""

    def __init__(self, head, body):
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = line.split(" ")
        pairs = (field.partition(":") for field in fields if field)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.body = body


def answer(body=b"", status="200 OK", kind=JSON, length=None, **headers):
    """Return the bytes of an HTTP answer."""
    fields = {"Content-Type": kind, "Content-Length": len(body) if length is None else length}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not False]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]).encode() + body


class Toy:
    """The index at :attr:`url`, as long as the ``with`` lasts.

    Each of :attr:`faults` answers one question (of those whose *method* they are for) in place of a
    good answer: it gets the connection and the request. :attr:`asked` is what was asked.
    """

    def __init__(self):
        self.projects, self.events, self.faults, self.asked = {}, [], deque(), []
        self.etags = self.serials = self.root_serial = False
        self.most = 50_000
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(patience(10))

    # Content --------------------------------------------------------------------------------

    def release(self, name, version, *, kinds=("tar.gz",), yanked=False, when=None):
        """Publish files of a project: source distributions, or wheels (``whl``)."""
        files = self.projects.setdefault(name, {"files": [], "status": "active"})["files"]
        for kind in kinds:
            tail = "-py3-none-any.whl" if kind == "whl" else f".{kind}"
            moment = time.time() if when is None else when
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
            upload = f"{stamp}.{int(moment % 1 * 1e6):06}Z"
            file = {"filename": f"{name}-{version}{tail}", "yanked": yanked, "upload-time": upload}
            files.append(file | {"size": 9, "url": "x", "hashes": {}})

    def drop(self, name, version):
        project = self.projects[name]
        start = f"{name}-{version}"
        project["files"] = [f for f in project["files"] if not f["filename"].startswith(start)]

    def happen(self, name, version, action, when=1_700_000_000, *, gap=1):
        """Add an event; its serial is *gap* greater than the last one's."""
        last = self.events[-1][4] if self.events else 100
        self.events.append([name, version, when, action, last + gap])

    # Responses -------------------------------------------------------------------------------

    def good(self, request):
        if request.method == "POST":
            return self._xmlrpc(request)
        if request.path == "/simple/":
            serial = {"X_PyPI_Last_Serial": self.root_serial} if self.root_serial else {}
            return answer(**serial)
        name = request.path.removeprefix("/simple/").strip("/")
        if name not in self.projects:
            return answer(b"none", "404 Not Found")
        body = self.document(name)
        tag = {"ETag": f'"{hash(body)}"'} if self.etags else {}
        if self.etags and request.headers.get("if-none-match") == tag["ETag"]:
            return answer(b"", "304 Not Modified", **tag)
        return answer(body, **tag)

    def document(self, name, /, **changes):
        project = self.projects[name]
        meta = {"api-version": "1.4"}
        if self.serials:
            meta["_last-serial"] = self.serials
        made = {"meta": meta, "name": name, "files": project["files"], "versions": []}
        return json.dumps(
            made | {"project-status": {"status": project["status"]}} | changes
        ).encode()

    def _xmlrpc(self, request):
        arguments, method = loads(request.body)
        if method == "changelog_last_serial":
            result = self.events[-1][4] if self.events else 0
        else:
            result = [each for each in self.events if each[4] > arguments[0]][: self.most]
        return xml(result)

    # Server -----------------------------------------------------------------------------

    def _accept(self):
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                if not (part := connection.recv(65536)):
                    return
                data += part
            head, _, body = data.partition(b"\r\n\r\n")
            request = Request(head, body)
            while len(request.body) < int(request.headers.get("content-length", 0)):
                request.body += connection.recv(65536)
            self.asked.append(request)
            fault = None
            if request.path != "/simple/" and self.faults:
                fault = self.faults.popleft()
            if fault is None:
                connection.sendall(self.good(request))
            else:
                fault(self, connection, request)


def xml(result):
    return answer(dumps((result,), methodresponse=True, allow_none=True).encode(), kind="text/xml")


# Sixty ways to fail -------------------------------------------------------------------------------


def says(*args, **kwargs):
    """A fault that answers something else."""
    data = args[0] if args and not kwargs and args[0].startswith(b"HTTP") else None
    return lambda _, connection, __: connection.sendall(data or answer(*args, **kwargs))


def drip(before, after=b"x", pause=0.02):
    """A fault that sends *before*, and then *after* again and again, slowly."""

    def fault(toy, connection, _):
        connection.sendall(before)
        while not toy._over.is_set():
            connection.sendall(after)
            time.sleep(pause)

    return fault


def hang(toy, *_):
    toy._over.wait(patience(5))


def cut(good_bytes):
    """A fault that sends the first so many bytes of the good answer."""
    return lambda toy, connection, request: connection.sendall(toy.good(request)[:good_bytes])


def encoded(encoding, change):
    """A fault that sends the good body in a changed shape, said to be in *encoding*."""

    def fault(toy, connection, request):
        body = change(toy.good(request).partition(b"\r\n\r\n")[2])
        connection.sendall(answer(body, Content_Encoding=encoding))

    return fault


def to(place, status="302 Found"):
    return says(b"", status, Location=place)


def chunked(*parts):
    head = answer(length=False, Transfer_Encoding="chunked")
    return lambda _, connection, __: connection.sendall(head + b"".join(parts))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

#: Faults of any HTTP server, by their names.
OF_HTTP = {
    "it hangs up": lambda *_: None,
    "it says nothing": hang,
    "it drips headers": drip(HEAD, b"X-More: x\r\n"),
    "it drips a header": drip(HEAD + b"X-More: "),
    "it drips its body": drip(HEAD + b"\r\n", b" "),
    "it drips chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "it drips a chunk's size": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "it never ends": drip(HEAD + b"\r\n", b" " * 65536, 0),
    "its headers never end": drip(HEAD, b"X-More: x\r\n" * 1000, 0),
    "it repeats status 100": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "half a status line": says(b"HTTP/1."),
    "not HTTP": lambda _, connection, __: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "no status": says(b"HTTP/1.1 OK\r\n\r\n"),
    "status 9999": says(b"HTTP/1.1 9999 OK\r\n\r\n"),
    "a cut head": cut(40),
    "a cut body": cut(-10),
    "a body that is longer than said": lambda toy, connection, request: connection.sendall(
        answer(toy.good(request).partition(b"\r\n\r\n")[2], length=20)
    ),
    "a length that is no number": says(b"{}", length="much"),
    "a negative length": says(b"{}", length="-5"),
    "a chunk of odd size": chunked(b"zz\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk": chunked(b"-5\r\n{}\r\n0\r\n\r\n"),
    "a chunk that is cut": chunked(b"ffff\r\n{}"),
    "wrong gzip": encoded("gzip", lambda body: b"\x1f\x8b" + body),
    "no gzip": encoded("gzip", lambda body: body),
    "cut gzip": encoded("gzip", lambda body: gzip.compress(body)[:-20]),
    "a gzip bomb": encoded("gzip", lambda _: gzip.compress(b" " * 50_000_000)),
    "many encodings": encoded(", ".join(["gzip"] * 9), lambda body: body),
    "status 204": says(b"", "204 No Content"),
    "status 206": says(b"{}", "206 Partial Content"),
    "status 400": says(b"", "400 Bad Request"),
    "status 401": says(b"", "401 Unauthorized"),
    "status 403": says(b"", "403 Forbidden"),
    "status 406": says(b"", "406 Not Acceptable"),
    "status 407": says(b"", "407 Proxy Authentication Required"),
    "status 418": says(b"", "418 I'm a teapot"),
    "status 429": says(b"", "429 Too Many Requests"),
    "429, again in 0 s": says(b"", "429 Too Many Requests", Retry_After="0"),
    "429, again in the past": says(b"", "429 Too Many", Retry_After=formatdate(0, usegmt=True)),
    "429, again in nonsense": says(b"", "429 Too Many Requests", Retry_After="soon"),
    "status 500": says(b"<h1>", "500 Internal Server Error"),
    "status 502": says(b"", "502 Bad Gateway"),
    "503, again in 0 s": says(b"", "503 Service Unavailable", Retry_After="0"),
    "status 304": says(b"", "304 Not Modified"),
    "a redirect to nowhere": says(b"", "302 Found"),
    "a redirect to itself": to("?"),
    "a redirect to a file": to("file:///etc/passwd"),
    "a redirect to ftp": to("ftp://127.0.0.1/"),
    "a redirect to no address": to("http://[::"),
    "a redirect to a closed port": to("http://127.0.0.1:1/"),
    "a redirect that forgets the question": to("/", "303 See Other"),
    "an empty body": says(b""),
    "not UTF-8": says(b'{"files": "\xff\xfe"}'),
    "zeros": says(bytes(1000)),
}

DEEP = b"[" * 100_000


def page(**changes):
    """A fault that answers with a page of the project that is changed."""

    def fault(toy, connection, request):
        name = request.path.removeprefix("/simple/").strip("/")
        connection.sendall(answer(toy.document(name, **changes)))

    return fault


#: Faults of a simple API.
OF_PAGES = {
    "HTML": says(b"<html>", kind="text/html"),
    "no type": says(b"{}", kind=""),
    "HTML said to be JSON": says(b"<html>"),
    "a list": says(b"[]"),
    "deep nesting": says(DEEP),
    "a huge number": says(b'{"files": [' + b"9" * 5000 + b"]}"),
    "no files": page(files=None),
    "files that are text": page(files="demo-1.0.tar.gz"),
    "no version of the API": page(meta={}),
    "a later version of the API": page(meta={"api-version": "2.0"}),
    "another project": page(name="other"),
    "a project without a name": page(name=[1]),
    "a status that is text": page(**{"project-status": "active"}),
    "a status that is a number": page(**{"project-status": {"status": 5}}),
    "gone for a moment": says(b"", "404 Not Found"),
    "empty for a moment": page(files=[]),
    "odd files for a moment": page(files=[1, None, {}, {"filename": 5}, {"filename": "x" * 999}]),
}


def value(text):
    body = f"<?xml version='1.0'?><methodResponse><params><param><value>{text}</value></param>"
    return says(f"{body}</params></methodResponse>".encode(), kind="text/xml")


BOMB = (
    b"<?xml version='1.0'?><!DOCTYPE b [<!ENTITY a 'aaaaaaaaaa'><!ENTITY c '&a;&a;&a;&a;&a;&a;'>]>"
    b"<methodResponse><params><param><value>&c;</value></param></params></methodResponse>"
)

#: Faults of an XML-RPC interface.
OF_CHANGELOGS = {
    "HTML": says(b"<html>", kind="text/html"),
    "cut XML": says(b"<?xml version='1.0'?><methodResponse><params>", kind="text/xml"),
    "an XML bomb": says(BOMB, kind="text/xml"),
    "a foreign entity": says(
        b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><methodResponse><params><param>"
        b"<value>&e;</value></param></params></methodResponse>",
        kind="text/xml",
    ),
    "deep nesting": value("<array><data><value>" * 1000),
    "a huge number": value(f"<int>{'9' * 5000}</int>"),
    "a great number": value(f"<int>{2**70}</int>"),
    "a negative number": value("<int>-1</int>"),
    "true": value("<boolean>1</boolean>"),
    "text": value("many"),
    "nothing": value("<nil/>"),
    "a struct": value("<struct><member><name>a</name><value>b</value></member></struct>"),
    "no list of events": value("<array><data><value>foo</value></data></array>"),
    "bad base64": value("<base64>&&&</base64>"),
    "an odd tag": value("<odd>1</odd>"),
    "two values": says(dumps((1, 2), "x").encode().replace(b"methodCall", b"methodResponse")),
    "a fault": says(
        b"<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>1</int>"
        b"</value></member><member><name>faultString</name><value>no\nmore</value></member>"
        b"</struct></value></fault></methodResponse>",
        kind="text/xml",
    ),
    "a fault that is none": says(
        b"<methodResponse><fault><value><int>1</int></value></fault></methodResponse>"
    ),
    "no such interface": says(b"", "404 Not Found"),
}
