"""Fetches for one build: pages and files of its indexes, and addresses of allowed hosts."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, Semaphore
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from piwheels.core.errors import Unavailable
from piwheels.core.fetching import Fetcher, Limits, Reply, UpstreamFault
from piwheels.core.wheels.tags import canonical
from piwheels.slave.egress import pages, rules
from piwheels.slave.egress.ledger import public
from piwheels.slave.egress.selection import is_source, uploaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from packaging.version import Version

    from piwheels.core.host.pip_config import IndexAccess
    from piwheels.core.program.builds import Place
    from piwheels.slave.egress.ledger import Ledger
    from piwheels.slave.egress.pages import Document
    from piwheels.slave.egress.selection import Selection

#: The size limits of a file, of all that a build fetches, and of the pages that it asked for.
MAX_FILE: Final = 4 * 2**30
MAX_TOTAL: Final = 20 * 10**9
MAX_PAGES: Final = 128 * 2**20
#: The most requests to indexes and allowed hosts.
MAX_REQUESTS: Final = 5000
#: A large file on a slow line takes its time.
LIMITS: Final = Limits(silence=30.0, total=3600.0)

_READERS: Final = 2
_TOO_MUCH: Final = "the build has fetched too much"
_NOT_BEFORE: Final = "it was not fetched before the build"
_WRONG_HASH: Final = "its {} is not the one that the index lists"


class Upstream(NamedTuple):
    """An index, or with *is_list* a list of files (pip's find-links), at *url*.

    An index may also be a folder of this machine (``file:///...``). The build gets only the project
    *only*, or all but *never* (``""``: no limit).
    """

    url: str
    is_list: bool = False
    only: str = ""
    never: str = ""

    def has(self, project: str) -> bool:
        """Return whether a build gets *project* from here."""
        name = canonical(project)
        return name == self.only if self.only else name != self.never


class Source(NamedTuple):
    """A page as it came from an index: its type, its bytes, and its address."""

    kind: str
    body: bytes
    address: str

    def read(self) -> Document:
        """Return the page. Raises :class:`UpstreamFault`."""
        try:
            return pages.read_page(*self)
        except ValueError as error:
            raise UpstreamFault(f"its page cannot be read: {error}", of_index=False) from None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to the build; *reason* explains a failure, *body* is closed by :meth:`close`."""

    status: int
    reason: str = ""
    kind: str = ""
    body: IO[bytes] | None = None
    size: int = 0
    location: str = ""
    is_kept: bool = False

    def close(self) -> None:
        """Close the body, unless the mirror keeps it."""
        if self.body is not None and not self.is_kept:
            self.body.close()


class Mirror:
    """Answers what a build asks for, and notes it in *ledger*; for several threads.

    Files and pages go through *folder*, where nobody sees them. The build gets a file only if its
    hashes are those that the index lists, and only the files of *selection*. *allowed* are those of
    :func:`.rules.allowances`. *unreachable* gets the reason if the network fails, *undated* the
    projects whose files cannot be selected by time. With *keep*, the files are kept, and after
    :meth:`seal` the build gets nothing else.
    """

    def __init__(  # noqa: PLR0917
        self,
        access: IndexAccess,
        upstreams: Sequence[Upstream],
        allowed: Mapping[str, int],
        ledger: Ledger,
        folder: Path,
        selection: Selection,
        *,
        unreachable: Callable[[str], None],
        undated: Callable[[str], None],
        keep: bool = False,
    ) -> None:
        self._upstreams = upstreams
        self._allowed, self._ledger, self._folder = allowed, ledger, folder
        #: What the build gets of the pages.
        self.selection = selection
        self._unreachable, self._undated = unreachable, undated
        # One for each upstream, since each decides how near an address may be.
        self._fetchers = [Fetcher(access, LIMITS) for _ in upstreams]
        #: Those for allowed hosts, by how near these may be.
        self._plain = {near: Fetcher(access, LIMITS, near) for near in (0, 1, 2)}
        self._addresses = [
            upstream.url if pages.is_local(upstream.url) else _register(fetcher, upstream.url)
            for fetcher, upstream in zip(self._fetchers, upstreams, strict=True)
        ]
        self._pages: dict[rules.Mirrored, Source | None] = {}
        self._keep, self._sealed = keep, False
        self._kept: dict[str, Answer] = {}
        self._requests = self._total = self._pages_size = 0
        self._lock = Lock()
        # Pages in memory are much larger than their bytes.
        self._reading = Semaphore(_READERS)

    def seal(self) -> None:
        """From now on, answer only with what was fetched before."""
        self._sealed = True

    def abort(self) -> None:
        """Abort what is under way, and fetch nothing more."""
        self._unreachable = lambda _: None  # the index is not at fault
        for fetcher in (*self._fetchers, *self._plain.values()):
            fetcher.close()

    def close(self) -> None:
        """Close the kept files."""
        for answer in self._kept.values():
            replace(answer, is_kept=False).close()

    def page_or_file(self, path: str, accept: str) -> Answer:
        """Return what is at *path* in the mirror."""
        wanted = rules.mirrored(path)
        if wanted is None or wanted.number >= len(self._upstreams):
            return Answer(404, "the mirror has nothing there")
        if bool(wanted.project) is self._upstreams[wanted.number].is_list:
            return Answer(404, "the mirror has only pages of projects and their files")
        if not self._upstreams[wanted.number].has(wanted.project):
            return Answer(404, "the project comes from another index")
        fetcher, address = self._fetchers[wanted.number], self._address(wanted)
        try:
            with self._reading:
                document = self._document(wanted, fetcher)
                if not wanted.filename:
                    return self._page(document, accept)
                file = pages.listed(document).get(wanted.filename) if document else None
            if file is None:
                return self.refuse(address, "the index does not list this file")
            address = file.url
            return self._fetched(fetcher, file.url, file.hashes)
        except UpstreamFault as fault:
            if fault.of_index:
                self._unreachable(f"{public(address)}: {fault}")
            return self._failed(fault, address)

    def plain(self, url: str) -> Answer:
        """Return what is at *url*, an address of plain HTTP."""
        place = rules.place_of(url)
        if place is None:
            return self.refuse(url, "it is no address of plain HTTP")
        near = rules.allowance(place, self._allowed)
        if near is None:
            return self.refuse(str(place), "the host is not allowed")
        try:
            return self._fetched(self._plain[near], url, {}, follow=False)
        except UpstreamFault as fault:
            return self._failed(fault, url)

    def may_connect(self, place: Place) -> tuple[int, str]:
        """Return how near *place* may be, and why the build may not connect; ``""`` if it may."""
        near = rules.allowance(place, self._allowed)
        if near is None:
            why = "the host is not allowed"
        elif self._sealed:
            why = "the build is offline"
        elif not self._may_ask():
            why = _TOO_MUCH
        else:
            return near, ""
        self._ledger.refused(str(place), why)
        return 0, why

    def source(self, project: str, version: Version) -> tuple[str, Answer]:
        """Return the name of the source distribution of a version, and the answer that has it.

        Raises :class:`~piwheels.core.errors.Unavailable`.
        """
        why = "no index has it"
        for path, file in self._sources(project, version):
            answer = self.page_or_file(path, "")
            if answer.body is not None:
                return file["filename"], answer
            why = answer.reason
        raise Unavailable(f"the source of {project} {version} cannot be fetched: {why}")

    def released(self, project: str, version: Version) -> datetime | None:
        """Return when the source distribution of a version was uploaded; ``None``: unknown."""
        found = (uploaded(file) for _, file in self._sources(project, version))
        return next(filter(None, found), None)

    def _sources(self, project: str, version: Version) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the source distributions of a version: their paths here, and their entries."""
        for number, upstream in enumerate(self._upstreams):
            place = rules.Mirrored(number, "" if upstream.is_list else project, "")
            if not upstream.has(project):
                continue
            try:
                with self._reading:
                    document = self._document(place, self._fetchers[number])
            except UpstreamFault as fault:
                if fault.of_index:
                    self._unreachable(f"{public(self._address(place))}: {fault}")
                continue
            for file in document["files"] if document else ():
                if is_source(file["filename"], canonical(project), version):
                    words = f"/{number}", place.project, quote(file["filename"], safe="")
                    yield "/".join(filter(None, words)), file

    def refuse(self, what: str, why: str) -> Answer:
        """Note that the build does not get *what*."""
        self._ledger.refused(what, why)
        return Answer(403, f"{public(what)}: {why}")

    def _failed(self, fault: UpstreamFault, url: str) -> Answer:
        return Answer(502, str(fault)) if fault.of_index else self.refuse(url, str(fault))

    def _may_ask(self) -> bool:
        """Count a request; return whether the build may have it."""
        with self._lock:
            self._requests += 1
            few = self._requests <= MAX_REQUESTS
            return few and self._total < MAX_TOTAL and not self._ledger.is_full

    def _address(self, wanted: rules.Mirrored) -> str:
        address = self._addresses[wanted.number]
        if not wanted.project:
            return address
        return f"{address.rstrip('/')}/{wanted.project}/{wanted.filename}"

    # Pages ----------------------------------------------------------------------------------------

    def _document(self, wanted: rules.Mirrored, fetcher: Fetcher) -> Document | None:
        """Return a page, or that of a file, with what the build gets; ``None``: there is none."""
        source = self._source(wanted._replace(filename=""), fetcher)
        if source is None:
            return None
        document = source.read()
        if self.selection.has_undated(document, wanted.project):
            self._undated(wanted.project or public(source.address))
        return self.selection.of(document, wanted.project)

    def _source(self, wanted: rules.Mirrored, fetcher: Fetcher) -> Source | None:
        """Return a page as the index has it; ``None``: it has none. The first answer stays."""
        if wanted not in self._pages:
            if self._sealed:
                raise UpstreamFault(_NOT_BEFORE, of_index=False)
            if not self._may_ask() or self._pages_size > MAX_PAGES:
                raise UpstreamFault(_TOO_MUCH, of_index=False)
            source = self._ask(wanted, fetcher)
            self._pages_size += len(source.body) if source else 0
            self._pages[wanted] = source
        return self._pages[wanted]

    def _ask(self, wanted: rules.Mirrored, fetcher: Fetcher) -> Source | None:
        url = self._address(wanted)
        if self._upstreams[wanted.number].is_list and pages.is_archive(url):
            return Source(pages.HTML, pages.link_to(url), url)
        if pages.is_local(url):
            page = _path(url) / "index.html"
            return Source(pages.HTML, page.read_bytes(), url) if page.is_file() else None
        reply = fetcher.ask("GET", url, {"Accept": pages.ACCEPT}, LIMITS.page)
        if reply.status != 200:
            return None
        return Source(reply.headers.get("Content-Type", ""), reply.body, reply.url)

    def _page(self, document: Document | None, accept: str) -> Answer:
        if document is None:
            return Answer(404, "the index has no such project")
        kind, body = pages.write_page(document, accept)
        file = self._new_file()
        file.write(body)
        file.flush()
        return Answer(200, "OK", kind, file, len(body))

    # Files ----------------------------------------------------------------------------------------

    def _fetched(
        self, fetcher: Fetcher, url: str, hashes: pages.Hashes, *, follow: bool = True
    ) -> Answer:
        """Fetch *url*, check it against *hashes*, and note it."""
        if kept := self._kept.get(url):
            return kept
        if self._sealed or not self._may_ask():
            return self.refuse(url, _NOT_BEFORE if self._sealed else _TOO_MUCH)
        digests = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *hashes}}
        body = self._new_file()

        def write(part: bytes) -> None:
            self._total += len(part)
            body.write(part)
            for digest in digests.values():
                digest.update(part)

        try:
            limit = min(MAX_FILE, MAX_TOTAL - self._total)
            save = _copy if pages.is_local(url) else fetcher.save
            reply = save(url, limit, write, follow=follow)
            body.flush()
        except BaseException:
            body.close()
            raise
        wrong = [name for name, text in hashes.items() if digests[name].hexdigest() != text]
        if reply.status != 200 or wrong:
            body.close()
            if reply.status == 200:
                return self.refuse(url, _WRONG_HASH.format(wrong[0].upper()))
            return Answer(reply.status, location=reply.headers.get("Location", ""))
        self._ledger.fetched(url, body.tell(), digests["sha256"].hexdigest())
        kind = reply.headers.get("Content-Type", "application/octet-stream")
        answer = Answer(200, "OK", kind, body, body.tell(), is_kept=self._keep)
        if self._keep:
            self._kept[url] = answer
        return answer

    def _new_file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder)


def _register(fetcher: Fetcher, url: str) -> str:
    try:
        return fetcher.register(url)
    except ValueError as error:
        raise Unavailable(f"pip is configured with {error}, which is no address") from None


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
