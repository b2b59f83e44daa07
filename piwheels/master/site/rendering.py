"""Renders the HTML pages from the templates in this package and the decisions of ``master.logic``.

Chameleon escapes every inserted value. Only ``about.pt`` inserts HTML, the description of a
project, which ``descriptions.py`` has sanitised; and ``failures.pt``, whose texts are constants.
"""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from html import escape
from importlib import metadata, resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chameleon import PageTemplateFile

from piwheels.core.diagnosis import CLASSES
from piwheels.core.diagnosis.advice import ADVICE
from piwheels.core.site import FEED
from piwheels.core.words import counted
from piwheels.master.logic import feeds, filters, simple_index, site_wide, web_pages
from piwheels.master.site.describer import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from piwheels.core.database.rows import Activity, EndedBuild, ProjectData, SimpleProject
    from piwheels.core.protocols import Why
    from piwheels.core.states import Fetch
    from piwheels.master.logic.reasons import ReasonLine
    from piwheels.master.logic.site_wide import Found
    from piwheels.master.site.describer import Described

#: How many projects and releases the home page lists.
NAMES, RELEASES = 48, 12
#: How many releases of a project page are open initially.
_OPEN = 2
#: How many dependencies are shown at once.
_FEW = 15
#: The signs of results, by their class of style.
_SIGNS = {"ok": "✓", "failed": "✗", "waiting": "…"}
#: A description that is at most so long, in characters of HTML, is open initially.
_SHORT = 4000
#: The width of a letter on a badge.
_LETTER = 7
#: What a page is about, for search engines and links in messages, unless it says something else.
_SUMMARY = "Python wheels, built from source and ready to install."


class Renderer:
    """Renders pages. Each template is compiled when it is first used.

    *site_url* is the address of the site with a final slash. If it is empty, a script on the pages
    inserts the address that the browser uses.
    """

    def __init__(self, site_url: str = "") -> None:
        self._url = site_url

    # The simple index -----------------------------------------------------------------------------

    def simple_root(self, names: Iterable[str]) -> bytes:
        """Return the root of the simple index, which lists *names* in their order."""
        return self._render("simple_root", names=names)

    def simple_project(self, project: SimpleProject) -> bytes:
        """Return a project's page in the simple index."""
        return self._render(
            "simple_project",
            name=project.package,
            status=simple_index.status_of(project),
            files=simple_index.file_rows(project),
        )

    # Pages for people -----------------------------------------------------------------------------

    def home(
        self,
        stats: Mapping[str, Any],
        popular: Sequence[str],
        builds: Iterable[EndedBuild],
        known: Mapping[str, object],
    ) -> bytes:
        """Return the home page; *known* are the projects that have a page."""
        return self._page(
            "home",
            "Wheels, ready to install",
            facts=web_pages.home_facts(stats),
            names=popular[:NAMES],
            more=len(known) > NAMES,
            recent=web_pages.recent_builds(builds, known)[:RELEASES],
        )

    def packages(self, popular: Sequence[Found], total: int) -> bytes:
        """Return the search page, which lists *popular* of the *total* projects."""
        parts = -(-total // site_wide.SUMMARIES)
        return self._page("packages", "Search", popular=popular, total=total, parts=parts)

    def project(
        self,
        data: ProjectData,
        ends: Mapping[int, str],
        described: Described = UNKNOWN,
        has_page: Callable[[str], bool] = lambda _: False,
        fetches: Mapping[int, Sequence[Fetch]] = MappingProxyType({}),
        *,
        answers: Iterable[Why] = (),
    ) -> bytes:
        """Return a project page.

        *ends*, *fetches* and *answers* are as in :func:`web_pages.release_blocks`.

        *described* is the METADATA of the release that installers choose; *has_page* tells which
        projects have a page.
        """
        releases = web_pages.release_blocks(data, ends, fetches, answers)
        best = web_pages.install_version(releases)
        metadata, html = described.metadata, described.html if best else ""
        full = releases[: web_pages.FULL]
        found = filters.page_filter(data, [release.version for release in full])
        return self._page(
            "project",
            data["name"],
            root="../../",
            summary=web_pages.summary(data["description"]) or f"Wheels of {data['name']}.",
            name=data["name"],
            description=data["description"],
            skip=data["skip"],
            status=data["status"],
            releases=full,
            filter=found,
            rows=found.rows,
            older=releases[web_pages.FULL :],
            opened=_OPEN,
            best=best,
            about_macros=_template("about").macros,
            about=web_pages.about(best, metadata, has_page) if best and metadata else None,
            few=_FEW,
            signs=_SIGNS,
            recipe=web_pages.recipe_text(data),
            # A short description is shown at once
            html=html,
            open_html=len(html) <= _SHORT,
            # Installers choose a yanked version only if it is requested exactly
            wanted=f"{data['name']}=={best.version}" if best and best.yanked else data["name"],
            apt=" ".join(sorted({name for file in best.files for name in file.apt.split()}))
            if best
            else "",
        )

    def farm_feed(self, builds: Iterable[EndedBuild], ends: Mapping[int, str]) -> bytes:
        """Return the Atom feed of *builds* of all projects; *ends* are as in ``feeds.entries``."""
        return self._feed("", "./", "Builds of all projects", feeds.entries(builds, ends))

    def project_feed(self, data: ProjectData, ends: Mapping[int, str]) -> bytes:
        """Return the Atom feed of a project; *ends* are as in ``feeds.entries``."""
        entries = feeds.entries(feeds.project_builds(data), ends)
        return self._feed(
            f"project/{data['name']}/", "../../", f"Builds of {data['name']}", entries
        )

    def badge(self, data: ProjectData) -> bytes:
        """Return a project's badge, an SVG picture for pages elsewhere."""
        text, colour = web_pages.badge(data)
        length = _LETTER * len(text)
        width = 64 + length + 12
        return self._render(
            "badge",
            text=text,
            colour=colour,
            width=width,
            length=length,
            middle=64 + (width - 64) / 2,
        )

    def stats(
        self,
        stats: Mapping[str, Any],
        activity: Activity,
        popular: Sequence[Found],
        failed: Sequence[ReasonLine] = (),
    ) -> bytes:
        """Return the page with the farm's statistics; *failed* are the failures by their class."""
        waiting = stats.get("builds_pending")
        return self._page(
            "stats",
            "Stats",
            facts=web_pages.farm_facts(stats),
            abis=web_pages.abi_lines(activity.builds, waiting if isinstance(waiting, dict) else {}),
            days=web_pages.days(activity.downloads),
            popular=[each for each in popular if each.ever],
            failed=failed,
        )

    def fixed(self) -> dict[str, bytes]:
        """Return the pages that never change, by name."""
        # The error page is served at any depth, so its links start at the site's root
        top = urlsplit(self._url).path or "/"
        return {
            "404.html": self._page("404", "Page not found", root=top),
            "failures.html": self._page(
                "failures",
                "Failures",
                classes=[(each, ADVICE[code]) for code, each in CLASSES.items()],
                marked=_marked,
            ),
            "faq.html": self._page("faq", "FAQ"),
            "json.html": self._page("json", "JSON API"),
        }

    def _feed(self, place: str, root: str, title: str, entries: Sequence[feeds.Entry]) -> bytes:
        """Return the feed in the folder *place*, from where *root* leads to the site's root.

        Its links are relative if the address of the site is unknown.
        """
        return self._render(
            "feed",
            id=f"{self._url}{place}{FEED}" if self._url else feeds.feed_urn(place),
            title=f"{title} - piwheels",
            updated=feeds.updated(entries),
            entries=entries,
            place=place,
            root=self._url or root,
        )

    def _page(
        self, template: str, title: str, *, root: str = "", summary: str = _SUMMARY, **values: Any
    ) -> bytes:
        return self._render(
            template,
            macros=_template("layout").macros,
            title=title,
            summary=summary,
            root=root,
            page=template,
            address=self._url.rstrip("/"),
            count=web_pages.count_text,
            counted=counted,
            **values,
        )

    def _render(self, template: str, **values: Any) -> bytes:
        text = _template(template)(api_version=simple_index.API_VERSION, **values)
        return str(text).encode("utf-8", "replace")


class _Template(PageTemplateFile):
    def digest(self, body: str, names: Iterable[str]) -> str:
        """Return the name of the compiled template; the inherited one reads all packages."""
        return sha256(repr((body, *names, metadata.version("chameleon"))).encode()).hexdigest()


@cache
def _template(name: str) -> _Template:
    return _Template(str(_folder("templates") / f"{name}.pt"))


def static_files() -> dict[str, bytes]:
    """Return the static files by name."""
    return {path.name: path.read_bytes() for path in sorted(_folder("static").iterdir())}


def _folder(name: str) -> Path:
    return Path(str(resources.files("piwheels.master.site"))) / name


def _marked(text: str) -> str:
    """Return *text* as HTML, with what is between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
