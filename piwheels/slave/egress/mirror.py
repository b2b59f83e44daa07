"""Fetches for one build: pages and files of its indexes, and addresses of allowed hosts."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from piwheels.core.fetching import Fetcher, Limits, Reply, UpstreamFault
from piwheels.slave.egress import pages, rules
from piwheels.slave.egress.ledger import public

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from piwheels.core.host.pip_config import IndexAccess
    from piwheels.slave.egress.ledger import Ledger
    from piwheels.slave.egress.pages import Document, Listed

#: The size limit of a file, and of all files of a build, in bytes.
MAX_FILE: Final = 4 * 2**30
MAX_TOTAL: Final = 20 * 10**9
#: A large file on a slow line takes its time.
LIMITS: Final = Limits(silence=30.0, total=3600.0)
#: The most pages that a build may ask for.
MAX_PAGES: Final = 5000

_NOT_BEFORE: Final = "it was not fetched before the build"
_WRONG_HASH: Final = "its {} is not the one that the index lists"


class Upstream(NamedTuple):
    """An index, or with *is_list* a list of files (pip's find-links), at *url*.

    An index may also be a folder of this machine (``file:///...``).
    """

    url: str
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to the build; *reason* explains a failure, *body* is closed by :meth:`close`."""

    status: int
    reason: str = ""
    kind: str = "text/plain; charset=utf-8"
    body: bytes | IO[bytes] = b""
    size: int = 0
    location: str = ""
    keep: bool = field(default=False)

    def close(self) -> None:
        """Close the file, unless the mirror keeps it."""
        if not isinstance(self.body, bytes) and not self.keep:
            self.body.close()


class Mirror:
    """Answers what a build asks for, and notes it in *ledger*; for several threads.

    Files go through *folder*, where nobody sees them. The build gets a file only if its hashes are
    those that the index lists. *unreachable* gets the reason if the network fails. With *keep*, the
    files are kept, and after :meth:`seal` the build gets nothing else.
    """

    def __init__(
        self,
        access: IndexAccess,
        upstreams: Sequence[Upstream],
        allowed: Collection[str],
        ledger: Ledger,
        folder: Path,
        *,
        unreachable: Callable[[str], None],
        keep: bool = False,
    ) -> None:
        self._upstreams = upstreams
        self._allowed, self._ledger, self._folder = allowed, ledger, folder
        self._unreachable = unreachable
        # One for each upstream, since each decides how near an address may be.
        self._fetchers = [Fetcher(access, LIMITS) for _ in upstreams]
        #: Those for allowed hosts, by how near these may be.
        self._plain = {near: Fetcher(access, LIMITS, near) for near in (1, 2)}
        self._addresses = [
            upstream.url if pages.is_local(upstream.url) else fetcher.register(upstream.url)
            for fetcher, upstream in zip(self._fetchers, upstreams, strict=True)
        ]
        #: The pages read so far, and the files that they list.
        self._pages: dict[rules.Mirrored, Document | None] = {}
        self._files: dict[rules.Mirrored, Listed] = {}
        self._keep, self._sealed = keep, False
        self._kept: dict[str, Answer] = {}
        self._total = 0
        self._lock = Lock()

    def seal(self) -> None:
        """From now on, answer only with what was fetched before."""
        self._sealed = True

    def abort(self) -> None:
        """Abort what is under way, and fetch nothing more."""
        for fetcher in (*self._fetchers, *self._plain.values()):
            fetcher.close()

    def close(self) -> None:
        """Close the kept files."""
        for answer in self._kept.values():
            replace(answer, keep=False).close()

    def page_or_file(self, path: str, accept: str) -> Answer:
        """Return what is at *path* in the mirror."""
        wanted = rules.mirrored(path)
        if wanted is None or wanted.number >= len(self._upstreams):
            return Answer(404, "the mirror has nothing there")
        if bool(wanted.project) is self._upstreams[wanted.number].is_list:
            return Answer(404, "the mirror has only pages of projects and their files")
        try:
            if not wanted.filename:
                return self._page(wanted, accept)
            return self._file(wanted)
        except UpstreamFault as fault:
            address = self._address(wanted)
            if not fault.of_index:
                return self.refuse(address, str(fault))
            self._unreachable(f"{public(address)}: {fault}")
            return Answer(502, str(fault))

    def plain(self, url: str) -> Answer:
        """Return what is at *url*, an address of plain HTTP."""
        place = rules.place_of(url)
        if place is None:
            return self.refuse(url, "it is no address of plain HTTP")
        if not rules.is_allowed(place, self._allowed):
            return self.refuse(str(place), "the host is not allowed")
        if kept := self._from_before(url):
            return kept
        try:
            fetcher = self._plain[rules.nearest(place.host)]
            return self._fetched(fetcher, url, {}, follow=False)
        except UpstreamFault as fault:
            return Answer(502, str(fault)) if fault.of_index else self.refuse(url, str(fault))

    def may_connect(self, place: rules.Place) -> str:
        """Return why the build may not connect to *place*; ``""`` if it may."""
        if not rules.is_allowed(place, self._allowed):
            why = "the host is not allowed"
        elif self._sealed:
            why = "the build is offline"
        elif self._ledger.is_full:
            why = "the build has fetched too much"
        else:
            return ""
        self._ledger.refused(str(place), why)
        return why

    def refuse(self, what: str, why: str) -> Answer:
        """Note that the build does not get *what*."""
        self._ledger.refused(what, why)
        return Answer(403, f"{public(what)}: {why}")

    # Pages ----------------------------------------------------------------------------------------

    def _page(self, wanted: rules.Mirrored, accept: str) -> Answer:
        with self._lock:
            known = wanted in self._pages
        if not known:
            if self._sealed:
                return self.refuse(self._address(wanted), _NOT_BEFORE)
            if len(self._pages) >= MAX_PAGES:
                return self.refuse(self._address(wanted), "the build has asked for too many pages")
            document = self._read(wanted)
            with self._lock:
                self._pages[wanted] = document
                for name, file in pages.listed(document).items() if document else ():
                    self._files.setdefault(wanted._replace(filename=name), file)
        document = self._pages[wanted]
        if document is None:
            return Answer(404, "the index has no such project")
        kind, body = pages.write_page(document, accept)
        return Answer(200, "OK", kind, body, len(body))

    def _read(self, wanted: rules.Mirrored) -> Document | None:
        url = self._address(wanted)
        if self._upstreams[wanted.number].is_list and pages.is_archive(url):
            return pages.single(url)
        try:
            if pages.is_local(url):
                page = _path(url) / "index.html"
                return pages.read_page("", page.read_bytes(), url) if page.is_file() else None
            fetcher = self._fetchers[wanted.number]
            reply = fetcher.ask("GET", url, {"Accept": pages.ACCEPT}, LIMITS.page)
            if reply.status != 200:
                return None
            return pages.read_page(reply.headers.get("Content-Type", ""), reply.body, reply.url)
        except ValueError as error:
            raise UpstreamFault(f"its page cannot be read: {error}", of_index=False) from None

    def _address(self, wanted: rules.Mirrored) -> str:
        address = self._addresses[wanted.number]
        if not wanted.project:
            return address
        return f"{address.rstrip('/')}/{wanted.project}/{wanted.filename}"

    # Files ----------------------------------------------------------------------------------------

    def _file(self, wanted: rules.Mirrored) -> Answer:
        if (file := self._files.get(wanted)) is None and not self._sealed:
            # An address of an earlier page, if this is another run.
            self._page(wanted._replace(filename=""), "")
            file = self._files.get(wanted)
        if file is None:
            return self.refuse(self._address(wanted), "the index does not list this file")
        if kept := self._from_before(file.url):
            return kept
        return self._fetched(self._fetchers[wanted.number], file.url, file.hashes)

    def _from_before(self, url: str) -> Answer | None:
        """Return the file that was kept, or, once sealed, a refusal; ``None``: fetch it."""
        if self._sealed and url not in self._kept:
            return self.refuse(url, _NOT_BEFORE)
        return self._kept.get(url)

    def _fetched(
        self, fetcher: Fetcher, url: str, hashes: pages.Hashes, *, follow: bool = True
    ) -> Answer:
        """Fetch *url*, check it against *hashes*, and note it."""
        if self._ledger.is_full or self._total >= MAX_TOTAL:
            return self.refuse(url, "the build has fetched too much")
        digests = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *hashes}}
        body = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (the answer closes it)
        try:

            def write(part: bytes) -> None:
                body.write(part)
                for digest in digests.values():
                    digest.update(part)

            limit = min(MAX_FILE, MAX_TOTAL - self._total)
            save = _copy if pages.is_local(url) else fetcher.save
            reply = save(url, limit, write, follow=follow)
            body.flush()
            size = body.tell()
        except BaseException:
            body.close()
            raise
        self._total += size
        wrong = [name for name, text in hashes.items() if digests[name].hexdigest() != text]
        if reply.status != 200 or wrong:
            body.close()
            if reply.status == 200:
                return self.refuse(url, _WRONG_HASH.format(wrong[0].upper()))
            return Answer(reply.status, location=reply.headers.get("Location", ""))
        self._ledger.fetched(url, size, digests["sha256"].hexdigest())
        kind = reply.headers.get("Content-Type", "application/octet-stream")
        answer = Answer(200, "OK", kind, body, size, keep=self._keep)
        if self._keep:
            self._kept[url] = answer
        return answer


def _copy(url: str, limit: int, write: Callable[[bytes], object], *, follow: bool) -> Reply:
    """Do what :meth:`Fetcher.save` does with a file of this machine."""
    path = _path(url)
    if not path.is_file():
        return Reply(404, b"", {})
    with path.open("rb") as file:
        for part in iter(lambda: file.read(2**20), b""):
            write(part)
            if file.tell() > limit:
                raise UpstreamFault(f"more than {limit:,} bytes", of_index=False)
    return Reply(200, b"", {})


def _path(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))
