"""Talking to the upstream index: its simple API (JSON, PEP 691) and its changelog (XML-RPC).

Whatever is at the other end, each question ends within its limits of time and size, with an answer
or an :class:`UpstreamFault`. For use in helper threads; nothing is decided here.
"""

from __future__ import annotations

import json
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
from xml.parsers import expat
from xmlrpc.client import Error, Fault, Unmarshaller, dumps

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, InsecureRequestWarning, NewConnectionError

from piwheels import __version__
from piwheels.core.errors import Fatal, PiWheelsError, one_line
from piwheels.master.logic import releases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.parse import SplitResult

    from piwheels.core.pipconfig import IndexAccess
    from piwheels.core.rows import WatchedRow
    from piwheels.master.logic.releases import Project

_JSON: Final = "application/vnd.pypi.simple.v1+json"
_JSON_TYPES: Final = (_JSON, "application/vnd.pypi.simple.latest+json", "application/json")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_REDIRECTS: Final = 5
_CHUNK: Final = 2**16
#: How deep what upstream says may be nested.
_MAX_DEPTH: Final = 20


class UpstreamFault(PiWheelsError):
    """The upstream did not give what was asked for; the text says what it gave.

    *wide*: it is not about the one thing that was asked for. *retry_after* is how many seconds it
    wants to be left alone, if it says so.
    """

    def __init__(self, why: str, *, wide: bool = True, retry_after: float | None = None) -> None:
        super().__init__(one_line(why)[:300])
        self.wide, self.retry_after = wide, retry_after


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


class Page(NamedTuple):
    """A project's page as it is upstream, with its validators.

    *project* is ``None`` where it is as it was; *found* says whether there is one at all.
    """

    found: bool
    project: Project | None
    etag: str
    modified: str


class Upstream:
    """The index that *access* leads to, whose changelog is at *xmlrpc* (``""``: beside it).

    Raises ``Fatal`` where it is no such address.
    """

    def __init__(self, access: IndexAccess, xmlrpc: str = "", limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._silence = min(access.timeout or self._limits.silence, self._limits.silence)
        self._credentials: dict[str, str] = {}
        self.simple = self._known(access.url).rstrip("/") + "/"
        beside = self.simple.removesuffix("simple/") + "pypi"
        self.xmlrpc = self._known(xmlrpc or beside)
        self._using: dict[int, socket] = {}
        self._access = access
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._opening = threading.Lock()
        self._closed = False
        #: Questions asked, and bytes of answers (as they are read, not as they travel).
        self.questions = self.received = 0

    def close(self) -> None:
        """Cut what is under way; nothing more can be asked."""
        with self._opening:
            self._closed = True
        for connection in list(self._using.values()):
            _cut(connection)
        for pool in self._pools.values():
            pool.clear()

    # What is asked ------------------------------------------------------------------------------

    def page(self, row: WatchedRow) -> Page:
        """Ask for the page of a project, if it is not the one that *row* knows."""
        validators = {"If-None-Match": row.etag, "If-Modified-Since": row.modified}
        headers = {name: value for name, value in validators.items() if value}
        headers["Accept"] = f"{_JSON}, text/html;q=0.01"
        reply = self._ask("GET", f"{self.simple}{row.package}/", headers, self._limits.page)
        if reply.status != 200:
            if reply.status == 304 and not (row.etag or row.modified):
                raise UpstreamFault("it answers 304 to a question without a condition", wide=False)
            return Page(reply.status != 404, None, row.etag, row.modified)
        kind = reply.headers.get("Content-Type", "nothing").partition(";")[0].strip().lower()
        if kind not in _JSON_TYPES:
            raise UpstreamFault(
                f"it answers {kind:.80} where JSON was asked for: an index without the JSON API"
                " (PEP 691) cannot be followed, since its pages tell neither times nor status",
                wide=False,
            )
        etag, modified = (_validator(reply.headers.get(n)) for n in ("ETag", "Last-Modified"))
        serial = releases.serial_of(reply.headers.get("X-PyPI-Last-Serial"))
        if serial and serial == row.serial:
            return Page(True, None, etag, modified)
        try:
            project = releases.parse(json.loads(reply.body), row.package)
        except (ValueError, RecursionError) as exc:
            raise UpstreamFault(f"its page cannot be read: {exc}", wide=False) from None
        project = project._replace(serial=project.serial or serial)
        if project.serial and project.serial == row.serial:
            return Page(True, None, etag, modified)
        return Page(True, project, etag, modified)

    def root_serial(self) -> int:
        """Return the serial of the whole index, 0 if it tells none; its list is never read."""
        headers = self._ask("HEAD", self.simple, {"Accept": _JSON}, 0).headers
        return releases.serial_of(headers.get("X-PyPI-Last-Serial"))

    def call(self, method: str, *args: int) -> Any:
        """Call *method* of the XML-RPC interface; return its result."""
        headers = {"Accept": "text/xml", "Content-Type": "text/xml"}
        question = dumps(args, method).encode()
        reply = self._ask("POST", self.xmlrpc, headers, self._limits.events, question)
        if reply.status != 200:
            raise UpstreamFault(f"there is no XML-RPC interface ({reply.status}): {self.xmlrpc}")
        return _unmarshal(reply.body)

    # HTTP ---------------------------------------------------------------------------------------

    def _ask(
        self, method: str, url: str, headers: dict[str, str], most: int, body: bytes = b""
    ) -> Reply:
        """Ask, and return the answer, whose body has at most *most* bytes."""
        about = {"User-Agent": f"piwheels/{__version__}", "Accept-Encoding": "gzip"}
        self.questions += 1
        try:
            with self._in_time():
                return self._follow(method, url, about | headers, most, body)
        except (HTTPError, OSError, ValueError) as exc:
            raise UpstreamFault(self._reason(exc)) from exc

    def _follow(
        self, method: str, url: str, headers: dict[str, str], most: int, body: bytes
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
                    return self._reply(response, most)
                url = _redirected(method, response.status, url, response.headers.get("Location"))
            finally:
                response.close()
        raise UpstreamFault(f"more than {_MAX_REDIRECTS} redirects, the last one to {_shown(url)}")

    def _reply(self, response: urllib3.BaseHTTPResponse, most: int) -> Reply:
        status, headers = response.status, response.headers
        if status in (304, 404, 410):
            return Reply(304 if status == 304 else 404, b"", headers)
        if status != 200:
            raise UpstreamFault(
                _MEANING.get(status, f"it answers {status}"),
                wide=status in (401, 403, 407, 429) or status >= 500,
                retry_after=_seconds(headers.get("Retry-After", "")),
            )
        parts, size = [], 0
        while part := response.read1(_CHUNK, decode_content=True):
            size += len(part)
            if size > most:
                raise UpstreamFault(f"more than {most:,} bytes", wide=False)
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
    def _in_time(self) -> Iterator[None]:
        """Cut the connection of this thread when the time is up: no trickle of bytes holds us."""
        me, late = threading.get_ident(), threading.Event()

        def end() -> None:
            late.set()
            if (connection := self._using.get(me)) is not None:
                _cut(connection)

        timer = threading.Timer(self._limits.total, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._using.pop(me, None)
            if late.is_set():  # whatever has come of it
                raise UpstreamFault(f"no end of its answer within {self._limits.total:g} s")

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts, access = urlsplit(url), self._access
        host = parts.hostname or ""
        trusted = {host, f"{host}:{parts.port}"} & set(access.trusted_hosts)
        proxy = access.proxy
        if proxy is None and not urllib.request.proxy_bypass(host):
            proxy = urllib.request.getproxies().get(parts.scheme)
        key = (proxy or "", bool(trusted))
        with self._opening:
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
            scheme: type(scheme, (pool,), {"ConnectionCls": _noting(connection, self._using)})
            for scheme, pool, connection in (
                ("http", HTTPConnectionPool, HTTPConnection),
                ("https", HTTPSConnectionPool, HTTPSConnection),
            )
        }
        return manager

    def _known(self, url: str) -> str:
        """Note the credentials for *url*; return it without them."""
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = None
        if not good:
            raise Fatal(
                f"{_shown(url)} cannot be followed: name an index whose address begins with"
                " https:// or http:// in --pypi-simple (or --pypi-xmlrpc), or choose --source none"
            )
        auth = _basic(parts) or _from_netrc(parts.hostname or "")
        if auth:
            self._credentials[_origin(url)] = auth
        return _shown(url)


#: What is said of some answers.
_MEANING: Final = {
    401: "it asks for a name and password (401): put them into the address, or into ~/.netrc",
    403: "it refuses us (403): see whether the credentials in the address are right",
    405: "it takes no such question (405): see whether --pypi-xmlrpc is an XML-RPC interface",
    407: "the proxy asks for a name and password (407): put them into pip's proxy setting",
    406: "it has no JSON (406): an index without the JSON API (PEP 691) cannot be followed",
    429: "it says that we ask too much (429)",
}


def _noting(kind: type[HTTPConnection], using: dict[int, socket]) -> type[HTTPConnection]:
    """Return *kind* of connection, which notes in *using* what socket a thread waits for.

    To connect has its own limit, and so has the handshake of TLS.
    """

    class Noting(kind):  # type: ignore[valid-type,misc]
        def getresponse(self) -> urllib3.HTTPResponse:
            using[threading.get_ident()] = self.sock
            return super().getresponse()  # type: ignore[no-any-return]

    return Noting


def _cut(connection: socket) -> None:
    """Have whoever reads from *connection* see its end; from any thread."""
    with suppress(OSError):  # closed already
        socket.shutdown(connection, SHUT_RDWR)  # not that of TLS, which would be polite


def _redirected(method: str, status: int, url: str, target: str | None) -> str:
    if not target:
        raise UpstreamFault(f"it answers {status} without saying where else to ask")
    new = urljoin(url, target)
    schemes = urlsplit(url).scheme, urlsplit(new).scheme
    if schemes[1] not in ("http", "https") or schemes == ("https", "http"):
        raise UpstreamFault(f"it sends us to {_shown(new)}, where we do not go")
    if method == "POST" and status == 303:
        raise UpstreamFault("it sends our question away (303)")
    return new


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _shown(url: str) -> str:
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


def _validator(value: str | None) -> str:
    """Return a validator, if it can be sent back."""
    fit = value and len(value) <= 200 and value.isascii() and value.isprintable()
    return value if value and fit else ""


def _seconds(text: str) -> float | None:
    """Return what a Retry-After says, in seconds from now: it is a number, or a date."""
    if text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _unmarshal(body: bytes) -> Any:
    """Return the one value of an answer of XML-RPC: no document type, nothing deep."""
    target, parser, depth = Unmarshaller(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deep")
        target.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        target.end(tag)

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = target.data
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    target.xml("", None)  # that is: expat gives text
    try:
        parser.Parse(body, True)
        (value,) = target.close()
    except Fault as exc:
        raise UpstreamFault(f"it refuses: {exc.faultString}") from None
    except _UNREADABLE as exc:
        raise UpstreamFault(f"its answer is not one of XML-RPC: {exc}") from None
    return value


#: What parser and unmarshaller raise for bytes that mean nothing.
_UNREADABLE: Final = (
    expat.ExpatError, Error, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    RecursionError, AssertionError,
)  # fmt: skip
