"""What a hostile build sends to its proxy, as bytes, and what comes of it.

``{port}`` is the port of the proxy, ``{far}`` that of a service of the machine which no request may
reach. The host allowed.example is allowed, only with the port 443.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """A request: its name, its bytes, the statuses of the answers, and what the ledger notes."""

    name: str
    data: bytes
    statuses: tuple[int, ...]
    refused: str | None = None


HOST = b"Host: 127.0.0.1:{port}\r\n"
PAGE = b"GET /0/demo/ HTTP/1.1\r\n" + HOST
LENGTH, CHUNKED = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
END = b"Connection: close\r\n\r\n"


def get(target, host=b"x.example"):
    return b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + END


def connect(place, more=b""):
    return b"CONNECT " + place + b" HTTP/1.1\r\nHost: " + place + b"\r\n" + more + b"\r\n"


def page(path):
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + END


CASES = (
    # Other hosts
    Case("a foreign host", get(b"http://evil.example/x?secret"), (403,), "evil.example:80"),
    Case("a foreign host by TLS", get(b"https://evil.example/"), (403,), "https://evil.example/"),
    Case("a connection to a foreign host", connect(b"github.com:443"), (403,), "github.com:443"),
    Case("a service of the machine", get(b"http://127.0.0.1:{far}/"), (403,), "127.0.0.1:{far}"),
    Case("it by a connection", connect(b"127.0.0.1:{far}"), (403,), "127.0.0.1:{far}"),
    Case("it by its name", connect(b"localhost:{far}"), (403,), "localhost:{far}"),
    Case("it by IPv6", connect(b"[::1]:{far}"), (403,), "[::1]:{far}"),
    Case("it by a mapped address", connect(b"[::ffff:127.0.0.1]:{far}"), (403,)),
    Case("it by a number", connect(b"2130706433:{far}"), (403,), "2130706433:{far}"),
    Case("it in hexadecimal", connect(b"0x7f.1:{far}"), (403,), "0x7f.1:{far}"),
    Case("it as no address", connect(b"0.0.0.0:{far}"), (403,), "0.0.0.0:{far}"),
    Case("the proxy itself", connect(b"127.0.0.1:{port}"), (403,)),
    Case("metadata of a cloud", get(b"http://169.254.169.254/latest/meta-data"), (403,)),
    Case("it by a connection", connect(b"169.254.169.254:80"), (403,), "169.254.169.254:80"),
    Case("the link", connect(b"[fe80::1%25eth0]:80"), (403,)),
    # An allowed host
    Case("another port", connect(b"allowed.example:22"), (403,), "allowed.example:22"),
    Case("the port 80", get(b"http://allowed.example/"), (403,), "allowed.example:80"),
    Case("it as a user", connect(b"allowed.example@127.0.0.1:{far}"), (403,)),
    Case("it as a password", get(b"http://allowed.example:443@127.0.0.1:{far}/"), (403,)),
    Case("it as a fragment", connect(b"127.0.0.1:{far}#allowed.example:443"), (403,)),
    Case("it after a space", connect(b"127.0.0.1:{far} allowed.example:443"), (400,)),
    Case("it after a tab", connect(b"127.0.0.1:{far}\tallowed.example:443"), (400,)),
    Case("it after a zero", connect(b"127.0.0.1:{far}\0allowed.example:443"), (400,)),
    Case("it after a backslash", get(b"http://127.0.0.1:{far}\\@allowed.example/"), (403,)),
    Case("it as a subdomain", connect(b"x.allowed.example:443"), (403,), "x.allowed.example:443"),
    Case("it as a prefix", connect(b"allowed.example.evil.example:443"), (403,)),
    Case("it as the Host", get(b"http://evil.example/", b"allowed.example"), (403,)),
    Case("it without a port", connect(b"allowed.example"), (403,)),
    Case("a port that is too large", connect(b"allowed.example:65979"), (403,)),
    Case("a negative port", connect(b"allowed.example:-1"), (403,)),
    Case("two ports", connect(b"allowed.example:443:22"), (403,)),
    Case("an empty host", connect(b":443"), (403,)),
    # Other schemes
    Case("a file", get(b"file:///etc/passwd"), (403,), "file:///etc/passwd"),
    Case("ftp", get(b"ftp://evil.example/x"), (403,)),
    Case("a word", get(b"evil"), (403,)),
    Case("an asterisk", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
    Case("half an address", get(b"http://[::1/"), (403,)),
    # The mirror
    Case("a path that climbs", page(b"/0/../../../../etc/passwd"), (404,)),
    Case("one that is encoded", page(b"/0/demo/..%2f..%2f..%2fetc%2fpasswd"), (403,)),
    Case("one that is encoded twice", page(b"/0/demo/%252e%252e%252fpasswd"), (403,)),
    Case("one of backslashes", page(b"/0/demo/..\\..\\passwd"), (403,)),
    Case("one with a zero", page(b"/0/demo/demo-1.0.tar.gz%00"), (403,)),
    Case("one of two slashes", page(b"//evil.example/0/demo/"), (404,)),
    Case("a project that climbs", page(b"/0/../"), (404,)),
    Case("a project of dots", page(b"/0/./"), (404,)),
    Case("an encoded project", page(b"/0/%2e%2e/"), (404,)),
    Case("another index", page(b"/1/demo/"), (404,)),
    Case("an index of many digits", page(b"/" + b"9" * 4000 + b"/demo/"), (404,)),
    Case("a negative index", page(b"/-1/demo/"), (404,)),
    Case("the whole index", page(b"/0/"), (404,)),
    Case("a query", page(b"/0/demo/?x=http://evil.example/"), (404,)),
    Case("a file that is not listed", page(b"/0/demo/demo-2.0.tar.gz"), (403,)),
    Case("its own proxy as a host", get(b"http://127.0.0.1:{port}/../etc/passwd"), (404,)),
    Case("another Host", get(b"/0/demo/", b"evil.example"), (421,)),
    Case("another port as Host", get(b"/0/demo/", b"127.0.0.1:{far}"), (421,)),
    Case("no Host", b"GET /0/demo/ HTTP/1.1\r\n\r\n", (400,)),
    Case("two Hosts", PAGE + HOST + END, (400,)),
    # Requests in requests
    Case("a body", PAGE + b"Content-Length: 40\r\n\r\n" + get(b"http://evil.example/"), (405,)),
    Case("a body in chunks", PAGE + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n", (405,)),
    Case(
        "two lengths", PAGE + b"Content-Length: 0\r\nContent-Length: 9\r\n\r\n" + PAGE + END, (400,)
    ),
    Case("a length with a sign", PAGE + b"Content-Length: +0\r\n\r\n" + PAGE + END, (400,)),
    Case("an unknown encoding", PAGE + b"Transfer-Encoding: x\r\n\r\n" + PAGE + END, (501,)),
    Case("a length and chunks", PAGE + LENGTH + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n", (405,)),
    Case("a folded header", PAGE + b"X: a\r\n\tb\r\n" + END, (200,)),
    Case("a space before the colon", PAGE + b"X : a\r\n" + END, (400,)),
    Case("a bare carriage return", PAGE + b"X: a\rY: b\r\n" + END, (400,)),
    Case("a zero in a header", PAGE + b"X: a\0b\r\n" + END, (400,)),
    Case("two requests at once", PAGE + b"\r\n" + PAGE + END, (200, 200)),
    Case("a refused one, then a good one", get(b"http://evil.example/") + PAGE + END, (403,)),
    Case("data after a connection", connect(b"evil.example:443") + PAGE + END, (403,)),
    Case("a body after a connection", connect(b"evil.example:443", LENGTH) + b"hello", (403,)),
    Case("an upgrade", PAGE + b"Connection: upgrade\r\nUpgrade: h2c\r\n" + END, (200,)),
    Case("a promise of more", PAGE + b"Expect: 100-continue\r\n" + LENGTH + b"\r\nhello", (405,)),
    Case("a range", PAGE + b"Range: bytes=0-4\r\n" + END, (200,)),
    # No HTTP
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + b"\r\n\r\n", (400,)),
    Case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (405,)),
    Case("HTTP/0.9", b"GET /0/demo/\r\n\r\n", (400,)),
    Case("SOCKS", b"\x05\x01\x00\r\n\r\n", (400,)),
    Case("nothing but lines", b"\r\n" * 50_000, (400,)),
    Case("a long line", b"GET /" + b"x" * 100_000, (431,)),
    Case("a long header", PAGE + b"X: " + b"x" * 100_000, (431,)),
    Case("endless headers", PAGE + b"X: x\r\n" * 100_000, (431,)),
    # Methods
    Case("POST", b"POST /0/demo/ HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi", (405,)),
    Case("PUT", b"PUT http://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
    Case("DELETE", b"DELETE /0/demo/ HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
    Case("TRACE", b"TRACE /0/demo/ HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
    Case("a method of its own", b"EVIL /0/demo/ HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
    Case("connect in small letters", b"connect 127.0.0.1:{far} HTTP/1.1\r\n" + HOST + END, (405,)),
)  # fmt: skip
