"""The site's files as an ASGI application: it serves them as ``nginx`` does.

It offers a project's page as JSON or HTML, as the client prefers (PEP 691, with RFC 9110's
quality values), and files with strong entity tags and ranges, so that downloads can be resumed and
parts of wheels read. Everything is read-only, and nothing outside the site is ever read.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import quote

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Receive, Scope, Send

logger = logging.getLogger("serve")

JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML: Final = "application/vnd.pypi.simple.v1+html"
#: What a client may ask for, and what it then gets, best first: (type asked, type sent, file).
OFFERS: Final = (
    (JSON, JSON, "index.v1_json"),
    ("application/vnd.pypi.simple.latest+json", JSON, "index.v1_json"),
    (HTML, HTML, "index.html"),
    ("application/vnd.pypi.simple.latest+html", HTML, "index.html"),
    ("text/html", "text/html; charset=utf-8", "index.html"),
)
TYPES: Final = {
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
#: A published file never changes; a page may, whenever something was built.
FOR_EVER: Final = "max-age=31536000, immutable"
A_MINUTE: Final = "max-age=60, must-revalidate"
AT_ONCE: Final = 256 * 1024  # bytes: a body up to this is read whole, a larger one in such pieces
#: Whatever a page might be made to say: it runs our scripts only, and asks nobody else.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
GUARDS: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": POLICY}
PROJECT_NAME: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def quality(accept: str, media_type: str) -> tuple[float, int]:
    """Return how much the field *accept* wants *media_type*, and how closely it names it.

    The quality is from 0 (not at all) to 1, and that of the closest range: the type itself (2),
    ``type/*`` (1), or ``*/*`` (0; RFC 9110, 12.5.1). What is no media range counts for nothing.
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
    """Return the (type, file) pairs that suit the field *accept*, best first.

    Who names nothing closely (a browser, a script) gets HTML; so does who can take none of ours.
    """
    wanted = []
    for rank, (asked, sent, file) in enumerate(OFFERS):
        weight, closeness = quality(accept, asked) if accept else (1.0, 0)
        if weight > 0:
            order = rank if closeness else -rank
            wanted.append((-weight, -closeness, order, (sent, file)))
    plain = OFFERS[-1][1:]
    return list(dict.fromkeys([*(offer for *_, offer in sorted(wanted)), plain]))


def byte_range(field: str | None, size: int) -> range | None:
    """Return the one part of *size* bytes that a Range *field* asks for; empty if it cannot be.

    None: send it whole, because nothing, several parts, or something unknown is asked.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (field or "").replace(" ", ""), re.ASCII)
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:  # so many at the end
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1 if last else size))


def unchanged(headers: Mapping[str, str], tag: str, modified: float) -> bool:
    """Say whether the client's own copy is still good (If-None-Match, else If-Modified-Since)."""
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


@dataclass(frozen=True, slots=True)
class Page:
    """An open file of the site, and what is said of it."""

    file: IO[bytes]
    size: int
    modified: float
    tag: str
    headers: dict[str, str]


class Site:
    """The files below *root*, as an ASGI application."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        # Files are read beside the loop: a slow disk stops no other client
        response = await anyio.to_thread.run_sync(
            self.answer, scope["method"], scope["path"], Headers(scope=scope)
        )
        await response(scope, receive, send)

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        """Return the response to *method* on the (decoded) *path*."""
        if method not in {"GET", "HEAD"}:
            return Response(status_code=405, headers={"Allow": "GET, HEAD"})
        names = path.split("/")[1:]
        folder = not names or names[-1] == ""
        names = names[:-1] if folder else names
        if not all(_is_plain(name) for name in names):
            return self._missing(method)
        page = self._page(names, headers) if folder else self._file(names, headers)
        if page is not None:
            return _respond(method, page, headers)
        if (place := self._moved(names, folder=folder)) not in {"", path}:
            moved = {"Location": quote(place), "Cache-Control": A_MINUTE}
            return Response(status_code=301, headers=moved)
        return self._missing(method)

    def _file(self, names: list[str], headers: Mapping[str, str]) -> Page | None:
        """Open a file: the packed one beside it (``packages.json.gz``) for who can unpack it."""
        if Path(names[-1]).suffix != ".json":
            return self._open(names, headers)
        said = {"Content-Type": TYPES[".json"], "Vary": "Accept-Encoding"}
        packed = None
        if _takes_gzip(headers):
            encoded = {**said, "Content-Encoding": "gzip"}
            packed = self._open([*names[:-1], f"{names[-1]}.gz"], headers, encoded)
        return packed or self._open(names, headers, said)

    def _page(self, names: list[str], headers: Mapping[str, str]) -> Page | None:
        """Open the index of a folder: in the form that suits, where the simple index has two."""
        if names[:1] == ["simple"] and len(names) <= 2:
            if names[1:] != [canonical(name) for name in names[1:]]:
                return None
            for media_type, file in negotiate(headers.get("accept")):
                said = {"Content-Type": media_type, "Vary": "Accept"}
                if (page := self._open([*names, file], headers, said)) is not None:
                    return page
            return None
        return self._open([*names, "index.html"], headers) or self._open(
            [*names, "index.json"], headers
        )

    def _moved(self, names: list[str], *, folder: bool) -> str:
        """Return the proper path of a page: with its slash, and its name in the one spelling."""
        if names[:1] == ["simple"] and len(names) > 1 and PROJECT_NAME.fullmatch(names[1]):
            wanted = ["", "simple", canonical(names[1]), *names[2:]]
            return "/".join([*wanted, ""] if folder or len(names) == 2 else wanted)
        if not folder and (path := self._resolve(names)) is not None and path.is_dir():
            return "/".join(["", *names, ""])
        return ""

    def _resolve(self, names: list[str]) -> Path | None:
        """Return the real path of what *names* lead to; None if it is not there, or not ours."""
        try:
            root = self.root.resolve(strict=True)
            path = root.joinpath(*names).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # missing, a loop of links, no name at all
            return None
        inside = path.is_relative_to(root)
        return path if inside and all(map(_is_plain, path.relative_to(root).parts)) else None

    def _open(
        self, names: list[str], headers: Mapping[str, str], said: Mapping[str, str] | None = None
    ) -> Page | None:
        if (path := self._resolve(names)) is None:
            return None
        try:
            # a link or a pipe that has come since the path was resolved is not followed
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            logger.warning("cannot read %s (%s): let this user read it", path, error.strerror)
            return None
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            os.close(number)
            return None
        file = os.fdopen(number, "rb")
        about = {"Cache-Control": A_MINUTE, **_describe(names, headers), **(said or {})}
        # The same bytes as another type, or packed, are another entity
        kind = about["Content-Type"].partition(";")[0].rpartition("/")[2]
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}-{kind}"'
        return Page(file, status.st_size, status.st_mtime, tag, about)

    def _missing(self, method: str) -> Response:
        page = self._open(["404.html"], {})
        content = b"There is no such page.\n"
        if page is not None:
            with page.file as file:
                content = file.read(AT_ONCE)
        said = {"Content-Type": TYPES[".html"] if page else TYPES[".txt"]}
        said |= {"Cache-Control": "no-cache", "Content-Length": f"{len(content)}", **GUARDS}
        return Response(content if method == "GET" else b"", status_code=404, headers=said)


def _is_plain(name: str) -> bool:
    """Whether *name* is one that the site publishes: neither hidden nor strange."""
    return name != "" and not name.startswith(".") and name.isprintable() and "\\" not in name


def _describe(names: list[str], headers: Mapping[str, str]) -> dict[str, str]:
    """Return what the name of a file says of it, to a client that sends *headers*."""
    suffix = Path(names[-1]).suffix
    said = {"Content-Type": TYPES.get(suffix, "application/octet-stream")}
    if suffix in {".whl", ".metadata"}:
        said["Cache-Control"] = FOR_EVER
    if names[-1].endswith(".txt.gz"):  # a log: the browser unpacks it
        said["Vary"] = "Accept-Encoding"
        if _takes_gzip(headers):
            said |= {"Content-Type": TYPES[".txt"], "Content-Encoding": "gzip"}
    return said


def _takes_gzip(headers: Mapping[str, str]) -> bool:
    field = headers.get("accept-encoding", "").lower()
    return re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", field) is not None


def _respond(method: str, page: Page, headers: Mapping[str, str]) -> Response:
    """Return *page*, or the part of it that is asked for, or the word that it has not changed."""
    said = page.headers | {
        "ETag": page.tag,
        "Last-Modified": formatdate(int(page.modified), usegmt=True),
        "Accept-Ranges": "bytes",
        **GUARDS,
    }
    if unchanged(headers, page.tag, page.modified):
        page.file.close()
        del said["Content-Type"]
        return Response(status_code=304, headers=said)
    whole = range(page.size)
    condition = headers.get("if-range")
    fresh = condition in {None, page.tag} or _same_time(condition, page.modified)
    asked = byte_range(headers.get("range"), page.size) if fresh and method == "GET" else None
    part = whole if asked is None else asked
    code = 200 if asked is None else 206
    if asked is not None:
        said["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{page.size}"
        if not asked:
            page.file.close()
            said["Content-Range"] = f"bytes */{page.size}"
            return Response(status_code=416, headers=said)
    said["Content-Length"] = str(len(part))
    if method == "HEAD" or len(part) <= AT_ONCE:
        with page.file as file:
            file.seek(part.start)
            content = b"" if method == "HEAD" else file.read(len(part))
        return Response(content, status_code=code, headers=said)
    return StreamingResponse(_pieces(page.file, part), status_code=code, headers=said)


async def _pieces(file: IO[bytes], part: range) -> AsyncIterator[bytes]:
    with file:
        file.seek(part.start)
        for position in range(part.start, part.stop, AT_ONCE):
            length = min(AT_ONCE, part.stop - position)
            yield await anyio.to_thread.run_sync(file.read, length)
