"""The site's files as an ASGI application, equivalent to the nginx example.

It serves a project's page as JSON or HTML, as the client prefers (PEP 691, with the quality values
of RFC 9110), and files with strong entity tags and ranges, so that clients can resume downloads
and read parts of wheels. It is read-only and never reads outside of the site.
"""

from __future__ import annotations

import errno
import logging
import math
import mmap
import os
import re
import stat
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final, NamedTuple
from urllib.parse import quote

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import Response

from piwheels.core.site import PACKED
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

logger = logging.getLogger("serve")

#: The extension of a request's scope that stores its response, for equal requests.
STORE: Final = "piwheels.store"
JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML: Final = "application/vnd.pypi.simple.v1+html"
#: The offered media types, best first: (requested type, sent type, file).
OFFERS: Final = (
    (JSON, JSON, "index.v1_json"),
    ("application/vnd.pypi.simple.latest+json", JSON, "index.v1_json"),
    (HTML, HTML, "index.html"),
    ("application/vnd.pypi.simple.latest+html", HTML, "index.html"),
    ("text/html", "text/html; charset=utf-8", "index.html"),
)
TYPES: Final = {
    ".atom": "application/atom+xml",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".metadata": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".v1_html": HTML,
    ".v1_json": JSON,
    ".webmanifest": "application/manifest+json",
    ".xml": "application/xml",
}
#: The files that may have a compressed copy.
PACKED_TYPES: Final = frozenset({".atom", ".css", ".html", ".js", ".json", ".v1_html", ".v1_json"})
#: Published files never change; pages change with each build.
IMMUTABLE: Final = "max-age=31536000, immutable"
ONE_MINUTE: Final = "max-age=60, must-revalidate"
SMALL: Final = 64 * 1024  # bytes; a larger body is sent in blocks, which are not copied
BLOCK: Final = 4 * 2**20  # bytes; the largest block
#: The bytes of all blocks that may be on their way at a time, except for small blocks.
ON_THEIR_WAY: Final = 16 * 2**20
#: A page runs only the scripts of the site, and contacts no other host.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": POLICY}
METHODS: Final = "GET, HEAD, OPTIONS"
#: The errors of a path that leads to no file.
MISSING: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
#: Programs in browsers (Pyodide, for instance) may read the simple index from any site.
SHARED: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Range, ETag",
}
PREFLIGHT: Final = SHARED | {
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": "Accept, Cache-Control, If-None-Match, If-Range, Range",
    "Access-Control-Max-Age": "86400",
}
PROJECT_NAME: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def quality(accept: str, media_type: str) -> tuple[float, int]:
    """Return the quality of *media_type* in the header *accept*, and the precision of the match.

    The quality is from 0 (not acceptable) to 1. The most precise range counts: the type itself
    (2), ``type/*`` (1), or ``*/*`` (0; RFC 9110, 12.5.1). Invalid ranges are ignored.
    """
    ranges = {media_type: 2, f"{media_type.partition('/')[0]}/*": 1, "*/*": 0}
    best, found = -1, 0.0
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weights = [text[2:] for text in parameters if text.startswith("q=")]
        weight = weights[0] if weights else "1"
        if ranges.get(name, -1) > best and re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", weight):
            best, found = ranges[name], float(weight)
    return found, max(best, 0)


def negotiate(accept: str | None) -> list[tuple[str, str]]:
    """Return the acceptable (type, file) pairs for the header *accept*, best first.

    HTML is preferred for clients that name no type precisely (browsers, scripts), and is the
    fallback for clients that accept none of the types.
    """
    wanted = []
    for rank, (requested, sent, file) in enumerate(OFFERS):
        weight, precision = quality(accept, requested) if accept else (1.0, 0)
        if weight > 0:
            tie_break = rank if precision else -rank
            wanted.append((-weight, -precision, tie_break, (sent, file)))
    plain = OFFERS[-1][1:]
    return list(dict.fromkeys([*(offer for *_, offer in sorted(wanted)), plain]))


#: The same, since most clients send one of a few headers.
_negotiated = lru_cache(maxsize=64)(negotiate)


def byte_range(field: str | None, size: int) -> range | None:
    """Return the range of *size* bytes that a Range header asks for; empty if unsatisfiable.

    ``None`` means the whole file: there is no header, or it has several ranges or another unit.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (field or "").replace(" ", ""), re.ASCII)
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:  # a suffix range
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1 if last else size))


def unchanged(headers: Mapping[str, str], tag: str, modified: float) -> bool:
    """Return whether the client's copy is current (If-None-Match, else If-Modified-Since)."""
    if (tags := headers.get("if-none-match")) is not None:
        known = {item.strip().removeprefix("W/") for item in tags.split(",")}
        return tag in known or "*" in known
    return _same_time(headers.get("if-modified-since"), modified, later=True)


def _same_time(field: str | None, modified: float, *, later: bool = False) -> bool:
    try:
        moment = int(parsedate_to_datetime(field or "").timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return False
    return moment >= int(modified) if later else moment == int(modified)


class Source(NamedTuple):
    """A file, and what identifies its content and its permissions."""

    path: str
    identity: tuple[int, ...]

    @staticmethod
    def of(path: str, status: os.stat_result) -> Source:
        """Return the file at *path* with this *status*."""
        numbers = status.st_dev, status.st_ino, status.st_size
        return Source(path, (*numbers, status.st_mtime_ns, status.st_ctime_ns))

    def is_unchanged(self) -> bool:
        """Return whether the file is still the same."""
        try:
            return Source.of(self.path, os.lstat(self.path)) == self
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Page:
    """An open file of the site, with its response headers."""

    source: Source
    file: IO[bytes]
    size: int
    modified: float
    tag: str
    headers: dict[str, str]


class Site:
    """The files below *root*, as an ASGI application.

    If *wait* is false, :meth:`answer` raises ``BlockingIOError`` instead of waiting for the disk.
    """

    def __init__(self, root: Path, *, wait: bool = True) -> None:
        self.root = root
        self._read = _read if wait else _read_cached
        self._block = SMALL if wait else math.inf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        # Files are read in a thread, so that a slow disk blocks no other client.
        response = await anyio.to_thread.run_sync(
            self.answer, scope["method"], scope["path"], Headers(scope=scope)
        )
        store = scope.get("extensions", {}).get(STORE)
        if store is not None and not isinstance(response, FileResponse):
            source = response.source if isinstance(response, PageResponse) else None
            store["put"](response.status_code, response.raw_headers, response.body, source)
        await response(scope, receive, send)

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        """Return the response to *method* on the (decoded) *path*."""
        response = self._answer(method, path, headers)
        if path.startswith("/simple/") or path == "/simple":
            response.headers.update(PREFLIGHT if method == "OPTIONS" else SHARED)
        return response

    def _answer(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        if method == "OPTIONS":
            return Response(status_code=204, headers=SECURITY_HEADERS | {"Allow": METHODS})
        if method not in {"GET", "HEAD"}:
            return Response(status_code=405, headers={"Allow": METHODS})
        names = path.split("/")[1:]
        folder = not names or names[-1] == ""
        names = names[:-1] if folder else names
        if not all(_is_plain(name) for name in names):
            return self._missing(method)
        page = self._page(names, headers) if folder else self._file(names, headers)
        if page is not None:
            return self._respond(method, page, headers)
        if (place := self._moved(names, folder=folder)) not in {"", path}:
            moved = {"Location": quote(place), "Cache-Control": ONE_MINUTE}
            return Response(status_code=301, headers=moved)
        return self._missing(method)

    def _file(
        self, names: list[str], headers: Mapping[str, str], extra: Mapping[str, str] | None = None
    ) -> Page | None:
        """Open a file, or its compressed copy (``index.html.gz``) if the client accepts gzip."""
        suffix = _suffix(names[-1])
        about = {"Content-Type": TYPES.get(suffix, ""), **(extra or {})}
        if suffix not in PACKED_TYPES:
            return self._open(names, headers, extra)
        about["Vary"] = ", ".join(filter(None, (about.get("Vary"), "Accept-Encoding")))
        compressed = None
        if _accepts_gzip(headers):
            encoded = {**about, "Content-Encoding": "gzip"}
            compressed = self._open([*names[:-1], f"{names[-1]}{PACKED}"], headers, encoded)
        return compressed or self._open(names, headers, about)

    def _page(self, names: list[str], headers: Mapping[str, str]) -> Page | None:
        """Open the index of a folder; the simple index has it in two formats."""
        if names[:1] == ["simple"] and len(names) <= 2:
            if names[1:] != [canonical(name) for name in names[1:]]:
                return None
            for media_type, file in _negotiated(headers.get("accept")):
                extra = {"Content-Type": media_type, "Vary": "Accept"}
                if (page := self._file([*names, file], headers, extra)) is not None:
                    return page
            return None
        return self._file([*names, "index.html"], headers) or self._file(
            [*names, "index.json"], headers
        )

    def _moved(self, names: list[str], *, folder: bool) -> str:
        """Return the canonical path of a page: normalized name, slash at the end (``''``: none)."""
        if names[:1] == ["project"] and len(names) > 1 and PROJECT_NAME.fullmatch(names[1]):
            wanted = ["", "project", canonical(names[1]), *names[2:]]
            if folder or len(names) == 2 or self._is_folder(wanted[1:]):
                wanted.append("")
            return "/".join(wanted)
        if names[:1] == ["simple"] and len(names) > 1 and PROJECT_NAME.fullmatch(names[1]):
            wanted = ["", "simple", canonical(names[1]), *names[2:]]
            return "/".join([*wanted, ""] if folder or len(names) == 2 else wanted)
        if not folder and self._is_folder(names):
            return "/".join(["", *names, ""])
        return ""

    def _is_folder(self, names: list[str]) -> bool:
        path = os.path.realpath(self.root.joinpath(*names))
        return self._publishes(path) and os.path.isdir(path)  # noqa: PTH112 (as below)

    def _publishes(self, path: str) -> bool:
        """Return whether the real *path* is inside of the site, and not hidden there."""
        root = os.path.join(os.path.realpath(self.root), "")  # noqa: PTH118 (text is faster)
        return path.startswith(root) and all(map(_is_plain, path[len(root) :].split("/")))

    def _open(
        self, names: list[str], headers: Mapping[str, str], extra: Mapping[str, str] | None = None
    ) -> Page | None:
        path = "/".join((str(self.root), *names))
        try:
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # it could be a pipe
        except OSError as error:
            if error.errno not in MISSING:
                logger.warning("cannot read %s (%s): let this user read it", path, error.strerror)
            return None
        status = os.fstat(number)
        path = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 (where its links lead, fast)
        if not (stat.S_ISREG(status.st_mode) and self._publishes(path)):
            os.close(number)
            return None
        file = os.fdopen(number, "rb", buffering=0)
        about = {"Cache-Control": ONE_MINUTE, **_describe(names, headers), **(extra or {})}
        # The same bytes with another type or encoding are another representation.
        kind = about["Content-Type"].partition(";")[0].rpartition("/")[2]
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}-{kind}"'
        source = Source.of(path, status)
        return Page(source, file, status.st_size, status.st_mtime, tag, about)

    def _respond(self, method: str, page: Page, headers: Mapping[str, str]) -> Response:
        """Return *page*, or the requested range of it, or 304."""
        about = page.headers | {
            "ETag": page.tag,
            "Last-Modified": formatdate(int(page.modified), usegmt=True),
            "Accept-Ranges": "bytes",
            **SECURITY_HEADERS,
        }
        if unchanged(headers, page.tag, page.modified):
            page.file.close()
            del about["Content-Type"]
            return PageResponse(page.source, status_code=304, headers=about)
        whole = range(page.size)
        condition = headers.get("if-range")
        fresh = condition in {None, page.tag} or _same_time(condition, page.modified)
        wanted = byte_range(headers.get("range"), page.size) if fresh and method == "GET" else None
        part = whole if wanted is None else wanted
        code = 200 if wanted is None else 206
        if wanted is not None:
            about["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{page.size}"
            if not wanted:
                page.file.close()
                about["Content-Range"] = f"bytes */{page.size}"
                return PageResponse(page.source, status_code=416, headers=about)
        about["Content-Length"] = str(len(part))
        if method == "HEAD" or len(part) <= self._block:
            with page.file as file:
                content = b"" if method == "HEAD" else self._read(file, part)
            return PageResponse(page.source, content, status_code=code, headers=about)
        return FileResponse(page.file, part, code, about)

    def _missing(self, method: str) -> Response:
        page = self._open(["404.html"], {})
        content = b"This page does not exist.\n"
        if page is not None:
            with page.file as file:
                content = bytes(self._read(file, range(min(page.size, SMALL))))
        about = {"Content-Type": TYPES[".html"] if page else TYPES[".txt"]}
        about |= {"Cache-Control": "no-cache", "Content-Length": f"{len(content)}"}
        about |= SECURITY_HEADERS
        return Response(content if method == "GET" else b"", status_code=404, headers=about)


def _is_plain(name: str) -> bool:
    """Return whether the site may publish *name*: not hidden, printable, no backslash."""
    return name != "" and not name.startswith(".") and name.isprintable() and "\\" not in name


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1]  # noqa: PTH122 (text is faster)


def _describe(names: list[str], headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that follow from a file's name and the request's *headers*."""
    suffix = _suffix(names[-1])
    about = {"Content-Type": TYPES.get(suffix, "application/octet-stream")}
    if suffix in {".whl", ".metadata"}:
        about["Cache-Control"] = IMMUTABLE
    if names[-1].endswith(".txt.gz"):  # a log: the browser decompresses it
        about["Vary"] = "Accept-Encoding"
        if _accepts_gzip(headers):
            about |= {"Content-Type": TYPES[".txt"], "Content-Encoding": "gzip"}
    return about


def _accepts_gzip(headers: Mapping[str, str]) -> bool:
    field = headers.get("accept-encoding", "").lower()
    return re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", field) is not None


class PageResponse(Response):
    """A response that shows the file *source*, or says something about it."""

    def __init__(self, source: Source, content: bytes | memoryview | None = None, **more: Any):
        super().__init__(content, **more)
        self.source = source


class FileResponse(Response):
    """The *part* of an open file, read and sent in blocks: smaller ones while many are not read."""

    _on_their_way: ClassVar[int] = 0

    def __init__(self, file: IO[bytes], part: range, status_code: int, headers: dict[str, str]):
        super().__init__(status_code=status_code, headers=headers)
        self._file, self._part = file, part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers, then one block after the other."""
        with self._file as file:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            position = self._part.start
            while position < self._part.stop:
                size = max(SMALL, min(BLOCK, (ON_THEIR_WAY - FileResponse._on_their_way) // 8))
                block = range(position, min(position + size, self._part.stop))
                FileResponse._on_their_way += len(block)
                try:
                    data = await anyio.to_thread.run_sync(_read, file, block)
                    more = block.stop < self._part.stop
                    await send({"type": "http.response.body", "body": data, "more_body": more})
                finally:
                    FileResponse._on_their_way -= len(block)
                position = block.stop


def _read_cached(file: IO[bytes], part: range) -> bytes:
    """Return *part* of *file*. Raises ``BlockingIOError`` if it is large, or not in memory."""
    if len(part) > SMALL:
        raise BlockingIOError("large")
    data = bytearray(len(part))
    try:
        count = os.preadv(file.fileno(), [data], part.start, os.RWF_NOWAIT)
    except OSError as exc:  # also a file system that cannot do this
        raise BlockingIOError(str(exc)) from exc
    if count < len(part):
        raise BlockingIOError("only a part is in memory")
    return bytes(data)


def _read(file: IO[bytes], part: range) -> bytes | memoryview:
    """Return *part* of *file*; a large one stays in the page cache, even for a slow client."""
    if len(part) <= SMALL:
        return os.pread(file.fileno(), len(part), part.start)
    skipped = part.start % mmap.ALLOCATIONGRANULARITY
    start, size = part.start - skipped, skipped + len(part)
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE  # reads the disk now, in this thread
    area = mmap.mmap(file.fileno(), size, flags, mmap.PROT_READ, offset=start)
    return memoryview(area)[skipped:]
