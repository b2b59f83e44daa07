"""Which requests are of interest: downloads, searches, pages read. Pure.

Only ``GET`` counts, where something was answered. A file counts when all of it was sent (200): a
part (206) is the rest of a download that counts already, or a look into a wheel. A page counts too
when the client was told that it has the newest one (304).
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
#: What there is on the site, by kind.
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
    """What Lumberjack is to be told: a *kind* of ours, the message, its data."""

    kind: str
    msg: str
    data: Data


def entry_of(hit: Hit) -> Entry | None:
    """Return the entry that *hit* is worth, or ``None``."""
    if hit.method != "GET" or hit.status not in (200, 304):
        return None
    found = _PATH.fullmatch(_plain(hit.path))
    if found is None:
        return None
    kind = str(found.lastgroup)
    what = found[kind]
    data: Data
    match kind:
        case "download" | "metadata":
            if hit.status != 200:
                return None
            data = DownloadState(what, hit.host, hit.when, *parse(hit.agent))
        case "search":
            data = SearchState(canonical(what), hit.host, hit.when, *parse(hit.agent))
        case "project":
            data = ProjectState(canonical(what), hit.host, hit.when, hit.agent)
        case "json":
            data = JSONState(canonical(what), hit.host, hit.when, hit.agent)
        case _:
            page = "/" if what == "/index.html" else what
            data = PageState(page, hit.host, hit.when, hit.agent)
    return Entry(kind, _MESSAGES[kind], data)


def _plain(path: str) -> str:
    """Return *path* as servers read it: without its query, and nothing written in another way."""
    path = path.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):  # a proxy's client names the site, too
        path = re.sub("https?://[^/]*", "", path, count=1, flags=re.IGNORECASE)
    if "%" in path:
        path = unquote(path)
    return re.sub("/+", "/", path) if "//" in path else path
