"""Asking an upstream index over HTTP, as pip would reach it, and never for long or too much.

Whatever is at the other end, each question ends within its limits of time and size, with an answer
or an :class:`UpstreamFault`. For use in helper threads; what is asked is :mod:`.pypi`'s business.
"""

from __future__ import annotations

import netrc
import os
import threading
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, InsecureRequestWarning, NewConnectionError

from piwheels import __version__
from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal, PiWheelsError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.parse import SplitResult

    from piwheels.core.host.pip_config import IndexAccess

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_REDIRECTS: Final = 5
_CHUNK: Final = 2**16


class UpstreamFault(PiWheelsError):
    """The upstream did not give what was asked for; the text says what it gave.

    *wide*: it is not about the one thing that was asked for. *retry_after* is how many seconds it
    wants to be left alone, if it says so.
    """

    def __init__(
        self, why: str, *, of_index: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(one_line(why)[:300])
        self.of_index, self.retry_after = of_index, retry_after


@dataclass(frozen=True, slots=True)
class Limits:
    """What one question may take: seconds until bytes come, and in all; bytes of its answer.

    *page* bytes may be those of a project (the largest have some 10 MB), *events* those of the
    changelog, whose 50,000 events at once have some 25 MB.
    """

    silence: float = 20.0
    total: float = 120.0
    page: int = 24 * 2**20
    events: int = 64 * 2**20


class Reply(NamedTuple):
    """An answer: *status* is 200, 304 or 404; *body* is empty but for 200."""

    status: int
    body: bytes
    headers: Any


class Fetcher:
    """Asks as *access* says that pip would, within *limits*; several threads may."""

    def __init__(self, access: IndexAccess, limits: Limits) -> None:
        self.limits = limits
        self._access = access
        self._silence = min(access.timeout or limits.silence, limits.silence)
        self._credentials: dict[str, str] = {}
        #: What socket each thread waits for.
        self._waiting_sockets: dict[int, socket] = {}
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._closed = False
        #: Questions asked, and bytes of answers (as they are read, not as they travel).
        self.requests = self.received = 0

    def close(self) -> None:
        """Cut what is under way; nothing more can be asked."""
        with self._lock:
            self._closed = True
        for connection in list(self._waiting_sockets.values()):
            _shut_down(connection)
        for pool in self._pools.values():
            pool.clear()

    # What is asked ------------------------------------------------------------------------------

    def ask(
        self, method: str, url: str, headers: dict[str, str], limit: int, body: bytes = b""
    ) -> Reply:
        """Ask, and return the answer, whose body has at limit *limit* bytes."""
        defaults = {"User-Agent": f"piwheels/{__version__}", "Accept-Encoding": "gzip"}
        self.requests += 1
        try:
            with self._time_limit():
                return self._follow(method, url, defaults | headers, limit, body)
        except (HTTPError, OSError, ValueError) as exc:
            raise UpstreamFault(self._reason(exc)) from exc

    def _follow(
        self, method: str, url: str, headers: dict[str, str], limit: int, body: bytes
    ) -> Reply:
        for _ in range(_MAX_REDIRECTS + 1):
            auth = self._credentials.get(_origin(url))
            response = self._pool(url).request(
                method,
                url,
                headers=headers | ({"Authorization": auth} if auth else {}),
                body=body or None,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(self._silence),
            )
            try:
                if response.status not in _REDIRECTS:
                    return self._reply(response, limit)
                url = _redirected(method, response.status, url, response.headers.get("Location"))
            finally:
                response.close()
        raise UpstreamFault(
            f"more than {_MAX_REDIRECTS} redirects, the last one to {_without_credentials(url)}"
        )

    def _reply(self, response: urllib3.BaseHTTPResponse, limit: int) -> Reply:
        status, headers = response.status, response.headers
        if status in (304, 404, 410):
            return Reply(304 if status == 304 else 404, b"", headers)
        if status != 200:
            raise UpstreamFault(
                _STATUS_REASONS.get(status, f"it answers {status}"),
                of_index=status in (401, 403, 407, 429) or status >= 500,
                retry_after=_seconds(headers.get("Retry-After", ""), headers.get("Date", "")),
            )
        parts, size = [], 0
        while part := response.read1(_CHUNK, decode_content=True):
            size += len(part)
            if size > limit:
                raise UpstreamFault(f"more than {limit:,} bytes", of_index=False)
            parts.append(part)
        self.received += size
        return Reply(200, b"".join(parts), headers)

    def _reason(self, exc: BaseException) -> str:
        """Return what went wrong at the bottom of *exc*: urllib3 wraps errors in errors."""
        inner = getattr(exc, "reason", None) or (exc.args[-1] if exc.args else None)
        if isinstance(inner, BaseException):
            return self._reason(inner)
        if isinstance(exc, NewConnectionError) and exc.__cause__ is not None:
            return self._reason(exc.__cause__)
        if isinstance(exc, (TimeoutError, urllib3.exceptions.TimeoutError)):
            return f"nothing came for {self._silence:g} s"
        text = str(exc.strerror if isinstance(exc, OSError) and exc.strerror else exc)
        return f"{text} ({type(exc).__name__})" if text else type(exc).__name__

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Cut the connection of this thread when the time is up: no trickle of bytes holds us."""
        me, expired = threading.get_ident(), threading.Event()

        def end() -> None:
            expired.set()
            if (connection := self._waiting_sockets.get(me)) is not None:
                _shut_down(connection)

        timer = threading.Timer(self.limits.total, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._waiting_sockets.pop(me, None)
            if expired.is_set():  # whatever has come of it
                raise UpstreamFault(f"no end of its answer within {self.limits.total:g} s")

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts, access = urlsplit(url), self._access
        host = parts.hostname or ""
        trusted = {host, f"{host}:{parts.port}"} & set(access.trusted_hosts)
        proxy = access.proxy
        if proxy is None and not urllib.request.proxy_bypass(host):
            proxy = urllib.request.getproxies().get(parts.scheme)
        key = (proxy or "", bool(trusted))
        with self._lock:
            if self._closed:
                raise UpstreamFault("we are ending")
            if key not in self._pools:
                self._pools[key] = self._open(proxy or "", "CERT_NONE" if trusted else None)
            return self._pools[key]

    def _open(self, proxy: str, cert_reqs: str | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": 8, "cert_reqs": cert_reqs}
        if cert_reqs:  # the operator has told pip to trust this host as it is
            urllib3.disable_warnings(InsecureRequestWarning)
        if self._access.client_cert:
            options["cert_file"] = self._access.client_cert
        if self._access.cert and cert_reqs is None:
            folder = Path(self._access.cert).is_dir()
            options["ca_cert_dir" if folder else "ca_certs"] = self._access.cert
        if proxy:
            auth = _basic(urlsplit(proxy))
            options["proxy_headers"] = {"Proxy-Authorization": auth} if auth else None
        manager = (
            urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        )
        manager.pool_classes_by_scheme = {
            scheme: type(
                scheme,
                (pool,),
                {"ConnectionCls": _recording_socket(connection, self._waiting_sockets)},
            )
            for scheme, pool, connection in (
                ("http", HTTPConnectionPool, HTTPConnection),
                ("https", HTTPSConnectionPool, HTTPSConnection),
            )
        }
        return manager

    def register(self, url: str) -> str:
        """Note the credentials for *url*; return it without them."""
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = None
        if not good:
            raise Fatal(
                f"{_without_credentials(url)} cannot be followed: name an index whose address begins with"
                " https:// or http:// in --pypi-simple (or --pypi-xmlrpc), or choose --source none"
            )
        auth = _basic(parts) or _from_netrc(parts.hostname or "")
        if auth:
            self._credentials[_origin(url)] = auth
        return _without_credentials(url)


#: What is said of some answers.
_STATUS_REASONS: Final = {
    401: "it asks for a name and password (401): put them into the address, or into ~/.netrc",
    403: "it refuses us (403): see whether the credentials in the address are right",
    405: "it takes no such question (405): see whether --pypi-xmlrpc is an XML-RPC interface",
    407: "the proxy asks for a name and password (407): put them into pip's proxy setting",
    406: "it has no JSON (406): an index without the JSON API (PEP 691) cannot be followed",
    429: "it says that we ask too much (429)",
}


def _recording_socket(
    cls: type[HTTPConnection], waiting_sockets: dict[int, socket]
) -> type[HTTPConnection]:
    """Return *kind* of connection, which notes in *waiting_sockets* what socket a thread waits for.

    To connect has its own limit, and so has the handshake of TLS.
    """

    class RecordingConnection(cls):  # type: ignore[valid-type,misc]
        def getresponse(self) -> urllib3.HTTPResponse:
            waiting_sockets[threading.get_ident()] = self.sock
            return super().getresponse()  # type: ignore[no-any-return]

    return RecordingConnection


def _shut_down(connection: socket) -> None:
    """Have whoever reads from *connection* see its end; from any thread."""
    with suppress(OSError):  # closed already
        socket.shutdown(connection, SHUT_RDWR)  # not that of TLS, which would be polite


def _redirected(method: str, status: int, url: str, target: str | None) -> str:
    if not target:
        raise UpstreamFault(f"it answers {status} without saying where else to ask")
    new = urljoin(url, target)
    schemes = urlsplit(url).scheme, urlsplit(new).scheme
    if schemes[1] not in ("http", "https") or schemes == ("https", "http"):
        raise UpstreamFault(f"it sends us to {_without_credentials(new)}, where we do not go")
    if method == "POST" and status == 303:
        raise UpstreamFault("it sends our question away (303)")
    return new


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _without_credentials(url: str) -> str:
    """Return *url* without name and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the address"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _basic(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return str(urllib3.make_headers(basic_auth=pair)["authorization"])


def _from_netrc(host: str) -> str:
    with suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
        if found:
            return str(urllib3.make_headers(basic_auth=f"{found[0]}:{found[2]}")["authorization"])
    return ""


def _seconds(text: str, date: str) -> float | None:
    """Return the seconds that a Retry-After asks for: *text* is a number of them, or a date.

    A date counts from the *date* of the answer, which the same server wrote: our own clock may be
    wrong, or may step while we wait.
    """
    if text.isdigit():
        return float(text[:9])
    when = _http_date(text)
    if when is None:
        return None
    return max(0.0, (when - (_http_date(date) or SYSTEM.now())).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
