"""Clients of piw-serve that want to exhaust it: each attacks *port* for some seconds.

They return how many requests (or connections) they have sent. They come from 127.0.0.1, or, where
they pretend to be many, from addresses of their own.
"""

from __future__ import annotations

import itertools
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A file of more than 50 MB that the site has, and a page.
LARGE, PAGE = b"/large.whl", b"/index.html"
GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(port: int, number: int = 0) -> socket.socket:
    """Return a connection from the address of a *number*."""
    source = f"127.1.{number // 250}.{number % 250 + 1}" if number else "127.0.0.1"
    made = socket.socket()
    made.settimeout(2)
    made.bind((source, 0))
    made.connect(("127.0.0.1", port))
    return made


def rounds(seconds: float, pause: float = 0.0) -> Iterator[int]:
    """Count for some *seconds*."""
    end = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            return
        yield number
        time.sleep(pause)


def slowly(port: int, seconds: float, parts: bytes, many: int = 500, *, far: bool = False) -> int:
    """Send *parts* by a byte a second on *many* connections."""
    with ExitStack() as stack:
        found = []
        for number in range(many):
            with suppress(OSError):
                found.append(stack.enter_context(connect(port, number + 1 if far else 0)))
        for at in rounds(seconds, 1.0):
            for one in found:
                with suppress(OSError):
                    one.sendall(parts[at : at + 1])
        return len(found)


def half_request_lines(port: int, seconds: float) -> int:
    """Send half a line, slowly."""
    return slowly(port, seconds, b"GET /index.html" * 10)


def slow_headers(port: int, seconds: float) -> int:
    """Send endless headers, slowly, from many addresses."""
    return slowly(port, seconds, GET[:-4] + b"X: y\r\n" * 1000, 1500, far=True)


def slow_bodies(port: int, seconds: float) -> int:
    """Announce a body, and send it slowly."""
    return slowly(port, seconds, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n" * 9)


def huge_headers(port: int, seconds: float) -> int:
    """Send a header without an end."""
    count = 0
    for number in rounds(seconds):
        count = number
        with suppress(OSError), connect(port) as one:
            one.sendall(GET[:-4] % PAGE + b"X: ")
            for _ in range(1000):
                one.sendall(b"y" * 60_000)
    return count


def slow_readers(port: int, seconds: float) -> int:
    """Ask for a large file on 500 connections, and read 100 bytes a second."""
    with ExitStack() as stack:
        found = []
        for number in range(500):
            with suppress(OSError):
                one = stack.enter_context(connect(port, number + 1))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.sendall(GET % LARGE)
                found.append(one)
        for _ in rounds(seconds, 1.0):
            for one in found:
                with suppress(OSError):
                    one.recv(100)
        return len(found)


def pipelines(port: int, seconds: float) -> int:
    """Send thousands of requests, and read no response."""
    count = 0
    for turn in rounds(seconds):
        with suppress(OSError), connect(port) as one:
            for _ in range(100):
                one.sendall(GET % (LARGE if turn % 2 else PAGE) * 1000)
                count += 1000
    return count


def silence(port: int, seconds: float) -> int:
    """Open 3,000 connections from one address, and say nothing."""
    with ExitStack() as stack:
        for number in rounds(seconds):
            if number < 3000:
                with suppress(OSError):
                    stack.enter_context(connect(port))
            else:
                time.sleep(0.1)
        return min(number, 3000)


def idle_after_requests(port: int, seconds: float) -> int:
    """Send one request on each of 1,500 connections, and keep them."""
    with ExitStack() as stack:
        for number in rounds(seconds):
            if number < 1500:
                with suppress(OSError):
                    stack.enter_context(connect(port)).sendall(GET % PAGE)
            else:
                time.sleep(0.1)
        return min(number, 1500)


def short_connections(port: int, seconds: float) -> int:
    """Connect and leave."""
    count = 0
    for number in rounds(seconds):
        count = number
        with suppress(OSError):
            connect(port).close()
    return count


CLIENTS: tuple[Callable[[int, float], int], ...] = (
    half_request_lines, slow_headers, slow_bodies, huge_headers, slow_readers, pipelines, silence,
    idle_after_requests, short_connections,
)  # fmt: skip
