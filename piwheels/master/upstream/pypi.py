"""The requests to the upstream index: pages of its simple API (PEP 691), and its changelog.

For worker threads; other modules decide.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from xml.parsers import expat
from xmlrpc.client import Error, Fault, Unmarshaller, dumps

from piwheels.core.errors import Fatal
from piwheels.core.fetching import Fetcher, Limits, UpstreamFault
from piwheels.master.logic import releases

if TYPE_CHECKING:
    from piwheels.core.database.rows import WatchedRow
    from piwheels.core.host.pip_config import IndexAccess
    from piwheels.master.logic.releases import Project

_JSON: Final = "application/vnd.pypi.simple.v1+json"
_JSON_TYPES: Final = (_JSON, "application/vnd.pypi.simple.latest+json", "application/json")
#: The deepest nesting of an XML-RPC answer.
_MAX_DEPTH: Final = 20


class Page(NamedTuple):
    """A project's upstream page, with its validators.

    *found* tells whether it exists; *project* is ``None`` if it is unchanged.
    """

    found: bool
    project: Project | None
    etag: str
    modified: str


class Upstream(Fetcher):
    """The index of *access*, with its changelog at *xmlrpc* (``""``: ``pypi`` next to the index).

    Raises ``Fatal`` for an address that cannot be followed.
    """

    def __init__(self, access: IndexAccess, xmlrpc: str = "", limits: Limits | None = None) -> None:
        super().__init__(access, limits or Limits())
        self.simple = self._configured(access.url).rstrip("/") + "/"
        default = self.simple.removesuffix("simple/") + "pypi"
        self.xmlrpc = self._configured(xmlrpc or default)

    def _configured(self, url: str) -> str:
        try:
            return self.register(url)
        except ValueError as exc:
            raise Fatal(
                f"{exc} cannot be followed: name an index whose address begins with"
                " https:// or http:// in --pypi-simple (or --pypi-xmlrpc), or choose --source none"
            ) from None

    def page(self, row: WatchedRow) -> Page:
        """Request the page of a project, unless it has not changed since *row*."""
        validators = {"If-None-Match": row.etag, "If-Modified-Since": row.modified}
        headers = {name: value for name, value in validators.items() if value}
        headers["Accept"] = f"{_JSON}, text/html;q=0.01"
        reply = self.ask("GET", f"{self.simple}{row.package}/", headers, self.limits.page)
        if reply.status != 200:
            if reply.status == 304 and not (row.etag or row.modified):
                raise UpstreamFault(
                    "it answers 304 to a request without a condition", of_index=False
                )
            return Page(reply.status != 404, None, row.etag, row.modified)
        content_type = (
            reply.headers.get("Content-Type", "nothing").partition(";")[0].strip().lower()
        )
        if content_type not in _JSON_TYPES:
            raise UpstreamFault(
                f"it answers {content_type:.80} to a request for JSON: an index without the JSON"
                " API (PEP 691) cannot be followed, since its pages have neither times nor status",
                of_index=False,
            )
        etag, modified = (_validator(reply.headers.get(n)) for n in ("ETag", "Last-Modified"))
        serial = releases.serial_of(reply.headers.get("X-PyPI-Last-Serial"))
        if serial and serial == row.serial:
            return Page(True, None, etag, modified)
        try:
            project = releases.parse(json.loads(reply.body), row.package)
        except (ValueError, RecursionError) as exc:
            raise UpstreamFault(f"its page cannot be read: {exc}", of_index=False) from None
        project = project._replace(serial=project.serial or serial)
        if project.serial and project.serial == row.serial:
            return Page(True, None, etag, modified)
        return Page(True, project, etag, modified)

    def root_serial(self) -> int:
        """Return the serial of the whole index, 0 if it reports none. Its list is not read."""
        headers = self.ask("HEAD", self.simple, {"Accept": _JSON}, 0).headers
        return releases.serial_of(headers.get("X-PyPI-Last-Serial"))

    def call(self, method: str, *args: int) -> Any:
        """Call *method* of the XML-RPC interface; return its result."""
        headers = {"Accept": "text/xml", "Content-Type": "text/xml"}
        body = dumps(args, method).encode()
        reply = self.ask("POST", self.xmlrpc, headers, self.limits.events, body)
        if reply.status != 200:
            raise UpstreamFault(f"there is no XML-RPC interface ({reply.status}): {self.xmlrpc}")
        return _unmarshal(reply.body)


def _validator(value: str | None) -> str:
    """Return *value* if it can be sent back as a validator, else an empty text."""
    usable = value and len(value) <= 200 and value.isascii() and value.isprintable()
    return value if value and usable else ""


def _unmarshal(body: bytes) -> Any:
    """Return the value of an XML-RPC answer, without document types and deep nesting."""
    target, parser, depth = Unmarshaller(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
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
    target.xml("", None)  # because expat passes text
    try:
        parser.Parse(body, True)
        (value,) = target.close()
    except Fault as exc:
        raise UpstreamFault(f"it refuses: {exc.faultString}") from None
    except _UNREADABLE as exc:
        raise UpstreamFault(f"its answer is not valid XML-RPC: {exc}") from None
    return value


#: The errors of the parser and the unmarshaller for an invalid answer.
_UNREADABLE: Final = (
    expat.ExpatError, Error, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    RecursionError, AssertionError,
)  # fmt: skip
