"""Sends HTTP requests to an upstream index, with the configuration of pip.

Each request ends within limits of time and size, with an answer or an :class:`UpstreamFault`. For
worker threads.
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
from ipaddress import ip_address
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
from piwheels.core.errors import PiWheelsError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from urllib.parse import SplitResult

    from piwheels.core.host.pip_config import IndexAccess

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_REDIRECTS: Final = 5
_CHUNK: Final = 2**16


class UpstreamFault(PiWheelsError):
    """A request to the upstream index failed; the text says why.

    *of_index* is false if the fault concerns only the requested page. *retry_after* is the delay
    that the index requests, in seconds.
    """

    def __init__(
        self, why: str, *, of_index: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(one_line(why)[:300])
        self.of_index, self.retry_after = of_index, retry_after


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a request: seconds without a byte, and in *total*; bytes of the answer.

    After twice *silence* (to connect, and for the first byte), *rate* bytes must arrive per second
    of each *silence*: a page that drips would otherwise use a thread for the *total*.

    *page* is the limit of a project's page in bytes (the largest have about 10 MB), *events* that
    of a part of the changelog (50,000 events have about 25 MB).
    """

    silence: float = 20.0
    total: float = 120.0
    page: int = 24 * 2**20
    events: int = 64 * 2**20
    rate: int = 4000


class Reply(NamedTuple):
    """An answer: *status* is 200, 304 or 404; *body* is empty except for 200.

    *url* is where the answer came from, after redirects.
    """

    status: int
    body: bytes
    headers: Any
    url: str = ""


class _Take(NamedTuple):
    """How to take an answer: its greatest size, who gets its parts, whether they are decoded.

    *follow*: follow redirects.
    """

    limit: int
    write: Callable[[bytes], object]
    decode: bool
    follow: bool = True


class Fetcher:
    """Sends requests as pip would with *access*, within *limits*; for several threads.

    *near* is the greatest :func:`nearness` of addresses that need not be configured.
    """

    def __init__(self, access: IndexAccess, limits: Limits, near: int = 0) -> None:
        self.limits = limits
        self._access = access
        self._silence = min(access.timeout or limits.silence, limits.silence)
        self._credentials: dict[str, str] = {}
        #: The hosts of the configured addresses, and the greatest :func:`nearness` among them.
        self._hosts: set[str] = set()
        self._nearness = near
        #: The socket that each thread waits for.
        self._waiting_sockets: dict[int, socket] = {}
        #: The bytes of the answer that each thread has read so far.
        self._read: dict[int, int] = {}
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._closed = False
        #: Questions asked, and bytes of answers (as they are read, not as they travel).
        self.requests = self.received = 0
        #: When the index last answered as it should (before that: the start), in monotonic seconds.
        self.answered = SYSTEM.monotonic()

    def close(self) -> None:
        """Abort all requests in progress, and refuse further ones."""
        with self._lock:
            self._closed = True
        for connection in list(self._waiting_sockets.values()):
            _shut_down(connection)
        for pool in self._pools.values():
            pool.clear()

    # Requests -----------------------------------------------------------------------------------

    def ask(
        self, method: str, url: str, headers: dict[str, str], limit: int, body: bytes = b""
    ) -> Reply:
        """Send a request and return the answer, whose body has at most *limit* bytes."""
        parts: list[bytes] = []
        take = _Take(limit, parts.append, decode=True)
        reply = self._send(method, url, {"Accept-Encoding": "gzip"} | headers, take, body)
        return reply._replace(body=b"".join(parts))

    def save(
        self, url: str, limit: int, write: Callable[[bytes], object], *, follow: bool = True
    ) -> Reply:
        """Request a file of at most *limit* bytes, and call *write* with each part, as it travels.

        The body of the answer is empty. Without *follow*, a redirect is an answer, too.
        """
        self._check_literal(url)  # it may be foreign; those of an index are configured
        take = _Take(limit, write, decode=False, follow=follow)
        return self._send("GET", url, {"Accept-Encoding": "identity"}, take)

    def _send(
        self, method: str, url: str, headers: dict[str, str], take: _Take, body: bytes = b""
    ) -> Reply:
        self.requests += 1
        headers = {"User-Agent": f"piwheels/{__version__}"} | headers
        try:
            with self._time_limit():
                reply = self._follow(method, url, headers, take, body)
        except (HTTPError, OSError, ValueError) as exc:
            raise UpstreamFault(self._reason(exc)) from exc
        self.answered = SYSTEM.monotonic()
        return reply

    def _follow(
        self, method: str, url: str, headers: dict[str, str], take: _Take, body: bytes
    ) -> Reply:
        origin = _origin(url)
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
                if response.status not in _REDIRECTS or not take.follow:
                    return self._reply(response, take)._replace(url=url)
                url = _redirected(method, response.status, url, response.headers.get("Location"))
                self._check_literal(url)
            except UpstreamFault as fault:
                if _origin(url) != origin:  # another server says nothing about the index
                    fault.of_index = False
                raise
            finally:
                response.close()
        raise UpstreamFault(
            f"more than {_MAX_REDIRECTS} redirects, the last one to {public(url)}", of_index=False
        )

    def _check_literal(self, url: str) -> None:
        """Refuse a numerical address that is too near, also behind a proxy."""
        host = urlsplit(url).hostname or ""
        with suppress(ValueError):  # a name: its address is checked when it is known
            self._check_address(host, host)

    def _check_address(self, host: str, address: str) -> None:
        """Refuse *address*, that of *host*, if the index is farther away: not its own business.

        A public index must not make this machine send requests to itself or to its own network.
        """
        near = nearness(address)
        if host in self._hosts:
            self._nearness = max(self._nearness, near)
        elif near > self._nearness:
            raise UpstreamFault(
                f"it sends us to {host} ({address}), an address of this machine or its network,"
                " which is not followed",
                of_index=False,
            )

    def _reply(self, response: urllib3.BaseHTTPResponse, take: _Take) -> Reply:
        status, headers = response.status, response.headers
        if status in _REDIRECTS:
            return Reply(status, b"", headers)
        if status in (304, 404, 410):
            return Reply(304 if status == 304 else 404, b"", headers)
        if status != 200:
            raise UpstreamFault(
                _STATUS_REASONS.get(status, f"it answers {status}"),
                of_index=status in (401, 403, 407, 429) or status >= 500,
                retry_after=_seconds(headers.get("Retry-After", ""), headers.get("Date", "")),
            )
        size = 0
        while part := response.read1(_CHUNK, decode_content=take.decode):
            size += len(part)
            self._read[threading.get_ident()] = size
            if size > take.limit:
                raise UpstreamFault(f"more than {take.limit:,} bytes", of_index=False)
            take.write(part)
        self.received += size
        return Reply(200, b"", headers)

    def _reason(self, exc: BaseException) -> str:
        """Return the innermost reason of *exc*: urllib3 wraps errors in errors."""
        inner = getattr(exc, "reason", None) or (exc.args[-1] if exc.args else None)
        if isinstance(inner, BaseException):
            return self._reason(inner)
        if isinstance(exc, NewConnectionError) and exc.__cause__ is not None:
            return self._reason(exc.__cause__)
        if isinstance(exc, (TimeoutError, urllib3.exceptions.TimeoutError)):
            return f"nothing arrived for {self._silence:g} s"
        text = str(exc.strerror if isinstance(exc, OSError) and exc.strerror else exc)
        return f"{text} ({type(exc).__name__})" if text else type(exc).__name__

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Abort the request of this thread at its time limit, even if bytes still arrive slowly."""
        me, over, why = threading.get_ident(), threading.Event(), list[str]()
        self._read[me] = 0

        def watch() -> None:
            step, passed, before = min(self._silence, self.limits.total), 0.0, 0
            while not over.wait(min(step, self.limits.total - passed)):
                passed += step
                size = self._read.get(me, 0)
                if passed >= self.limits.total:
                    why.append(f"its answer did not end within {self.limits.total:g} s")
                elif passed > 2 * step and size - before < self.limits.rate * step:
                    why.append(f"its answer is slower than {self.limits.rate:,} bytes per second")
                if why:
                    if (connection := self._waiting_sockets.get(me)) is not None:
                        _shut_down(connection)
                    return
                before = size

        watcher = threading.Thread(target=watch, name="gazer-limit", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            self._waiting_sockets.pop(me, None)
            self._read.pop(me, None)
            if why:  # whatever the request has returned
                raise UpstreamFault(why[0])

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
                raise UpstreamFault("this program is stopping")
            if key not in self._pools:
                self._pools[key] = self._open(proxy or "", "CERT_NONE" if trusted else None)
            return self._pools[key]

    def _open(self, proxy: str, cert_reqs: str | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": 8, "cert_reqs": cert_reqs}
        if cert_reqs:  # pip is configured to trust this host without a certificate
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
                {
                    "ConnectionCls": _recording_socket(
                        connection, self._waiting_sockets, None if proxy else self._check_address
                    )
                },
            )
            for scheme, pool, connection in (
                ("http", HTTPConnectionPool, HTTPConnection),
                ("https", HTTPSConnectionPool, HTTPSConnection),
            )
        }
        return manager

    def register(self, url: str) -> str:
        """Store the credentials in *url* (or in ``~/.netrc``); return the address without them.

        Raises ``ValueError`` with that address if it is none of HTTP.
        """
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = None
        if not good:
            raise ValueError(public(url))
        self._hosts.add(parts.hostname or "")
        auth = _basic(parts) or _from_netrc(parts.hostname or "")
        if auth:
            self._credentials[_origin(url)] = auth
        return public(url)


#: The reasons of faults, by the status of the answer.
_STATUS_REASONS: Final = {
    401: "it requires a name and password (401): put them into the address, or into ~/.netrc",
    403: "it refuses access (403): check the credentials in the address",
    405: "it refuses the request (405): check whether --pypi-xmlrpc is an XML-RPC interface",
    407: "the proxy requires a name and password (407): put them into pip's proxy setting",
    406: "it has no JSON (406): an index without the JSON API (PEP 691) cannot be followed",
    429: "it reports too many requests (429)",
}


def _recording_socket(
    cls: type[HTTPConnection],
    waiting_sockets: dict[int, socket],
    check: Callable[[str, str], None] | None,
) -> type[HTTPConnection]:
    """Return a subclass of *cls* that stores the socket of each waiting thread.

    It does so from the request on: connecting, and the handshake of TLS, have limits of their own.
    *check* gets each host with the address that it has, before anything is sent there.
    """

    class RecordingConnection(cls):  # type: ignore[valid-type,misc]
        def _new_conn(self) -> socket:
            connection: socket = super()._new_conn()
            if check is not None:
                try:
                    check(self.host, connection.getpeername()[0])
                except BaseException:
                    connection.close()
                    raise
            return connection

        def getresponse(self) -> urllib3.HTTPResponse:
            waiting_sockets[threading.get_ident()] = self.sock
            return super().getresponse()  # type: ignore[no-any-return]

    return RecordingConnection


def _shut_down(connection: socket) -> None:
    """End *connection* for its reader; for any thread."""
    with suppress(OSError):  # closed already
        socket.shutdown(connection, SHUT_RDWR)  # not the method of TLS sockets, which may block


def nearness(address: str) -> int:
    """Return 2 for an IP *address* of this machine or link, 1 for another private one, else 0.

    Raises ``ValueError`` for a name.
    """
    ip = ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback or ip.is_link_local or ip.is_unspecified:
        return 2
    return 0 if ip.is_global else 1


def _redirected(method: str, status: int, url: str, target: str | None) -> str:
    if not target:
        raise UpstreamFault(f"it answers {status} without another address", of_index=False)
    new = urljoin(url, target)
    schemes = urlsplit(url).scheme, urlsplit(new).scheme
    if schemes[1] not in ("http", "https") or schemes == ("https", "http"):
        raise UpstreamFault(f"it sends us to {public(new)}, which is not followed", of_index=False)
    if method == "POST" and status == 303:
        raise UpstreamFault("it redirects the request to a page (303)")
    return new


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def public(url: str) -> str:
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
    """Return the seconds that a Retry-After requests: *text* is their number, or a date.

    A date is compared with the *date* of the answer, which has the same clock, and ignored without
    one: the clock of this machine may be wrong.
    """
    if text.isdigit():
        return float(text[:9])
    when, answered = _http_date(text), _http_date(date)
    if when is None or answered is None:
        return None
    return max(0.0, (when - answered).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
