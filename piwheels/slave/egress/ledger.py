"""The ledger of a build: what it fetched, and what it asked for and did not get. Pure."""

from __future__ import annotations

from threading import Lock
from typing import Final
from urllib.parse import quote, urlsplit

from piwheels.core.states import MAX_FETCHES, MAX_URL, Fetch

#: The most entries of each kind. A build whose ledger is full gets nothing more.
MAX_REFUSED: Final = 100
MAX_FETCHED: Final = MAX_FETCHES - MAX_REFUSED


class Ledger:
    """Collects entries in order, one for each address; for several threads."""

    def __init__(self) -> None:
        self._fetched: dict[str, Fetch] = {}
        self._refused: dict[str, Fetch] = {}
        self._lock = Lock()

    @property
    def is_full(self) -> bool:
        """Whether the build may fetch nothing more."""
        return len(self._fetched) >= MAX_FETCHED

    def fetched(self, url: str, size: int, sha256: str | None = None) -> None:
        """Note that the build got the file at *url*."""
        entry = Fetch(public(url), size, sha256)
        with self._lock:
            self._fetched[entry.url] = entry

    def passed(self, place: str, size: int) -> None:
        """Note that *size* more bytes came through a connection to *place* (``HOST:PORT``)."""
        with self._lock:
            before = self._fetched.get(place, Fetch(place, 0))
            self._fetched[place] = before._replace(size=before.size + size)

    def refused(self, place: str, why: str) -> bool:
        """Note that the build did not get *place*, an address or HOST:PORT; False: it is known."""
        entry = Fetch(public(place), 0, None, why[:200])
        with self._lock:
            if entry.url in self._refused or len(self._refused) >= MAX_REFUSED:
                return False
            self._refused[entry.url] = entry
            return True

    def entries(self) -> tuple[Fetch, ...]:
        """Return all entries: what was fetched, then what was refused."""
        with self._lock:
            return (*self._fetched.values(), *self._refused.values())


def public(url: str) -> str:
    """Return *url* for everybody: ASCII, without name, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme in ("http", "https"):
        host = parts.netloc.rpartition("@")[2]
        url = f"{parts.scheme}://{host}{parts.path}"
    return quote(url, safe="/:%+@!$&'()*,;=~[]", errors="replace")[:MAX_URL]
