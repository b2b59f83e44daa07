"""Select the relevant requests: downloads, searches, page hits. Pure.

Only successful ``GET`` requests count. A file counts when it was sent whole (200): a part (206)
belongs to a download that has counted, or to a partial read of a wheel. A page also counts when the
client's copy is current (304).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

from piwheels.core.states import DownloadState, JSONState, PageState, ProjectState, SearchState
from piwheels.core.wheels.tags import canonical
from piwheels.logger.agents import parse

if TYPE_CHECKING:
    from piwheels.logger.lines import Hit

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?"
_WHEEL: Final = r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,240}\.whl"
#: The paths of the site, by kind.
_PATH: Final = re.compile(
    rf"""
      /simple/{_NAME}/(?:(?P<download>{_WHEEL})|(?P<metadata>{_WHEEL}\.metadata))
    | /simple/(?P<search>{_NAME})/(?:index\.(?:html|v1_html|v1_json))?
    | /project/(?P<project>{_NAME})/(?:index\.html)?
    | /project/(?P<json>{_NAME})/json/(?:index\.json)?
    | (?P<page>/(?:simple/|[a-z0-9_-]{{1,50}}\.html)?)
    """,
    re.VERBOSE | re.ASCII,
)
_MESSAGES: Final = {
    "download": "LOGDOWNLOAD",
    "metadata": "LOGDOWNLOAD",
    "search": "LOGSEARCH",
    "project": "LOGPROJECT",
    "json": "LOGJSON",
    "page": "LOGPAGE",
}
#: The kinds of entries.
KINDS: Final = tuple(_MESSAGES)


Data = DownloadState | SearchState | ProjectState | JSONState | PageState


class Entry(NamedTuple):
    """An entry for Lumberjack: its *kind*, the message and its data."""

    kind: str
    msg: str
    data: Data


def entry_of(hit: Hit) -> Entry | None:
    """Return the entry for *hit*, or ``None`` if it is irrelevant."""
    if hit.method != "GET" or hit.status not in (200, 304):
        return None
    found = _PATH.fullmatch(_normalized(hit.path))
    if found is None:
        return None
    kind = str(found.lastgroup)
    name = found[kind]
    data: Data
    match kind:
        case "download" | "metadata":
            if hit.status != 200:
                return None
            data = DownloadState(name, hit.host, hit.when, *parse(hit.agent))
        case "search":
            data = SearchState(canonical(name), hit.host, hit.when, *parse(hit.agent))
        case "project":
            data = ProjectState(canonical(name), hit.host, hit.when, hit.agent)
        case "json":
            data = JSONState(canonical(name), hit.host, hit.when, hit.agent)
        case _:
            page = "/" if name == "/index.html" else name
            data = PageState(page, hit.host, hit.when, hit.agent)
    return Entry(kind, _MESSAGES[kind], data)


def _normalized(path: str) -> str:
    """Return *path* normalized as servers do: no query, no escapes, no double slashes."""
    path = path.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):  # absolute form, as sent to proxies
        path = re.sub("https?://[^/]*", "", path, count=1, flags=re.IGNORECASE)
    if "%" in path:
        path = unquote(path)
    return re.sub("/+", "/", path) if "//" in path else path
