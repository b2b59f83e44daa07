"""The site's HTML: the templates beside this module, filled with what logic/ makes of the state.

Chameleon escapes whatever is put in; no template marks anything as markup.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chameleon import PageTemplateLoader

from piwheels.master.logic import pages, views

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from piwheels.core.database.rows import Activity, EndedBuild, ProjectData, SimpleProject
    from piwheels.master.logic.catalog import Found

#: How many projects and releases the first page names.
NAMES, RELEASES = 48, 12
#: How many releases of a project are unfolded.
_OPEN = 2


class Renderer:
    """Makes pages; each template is read (and compiled) the first time that it is used.

    *site_url* is the address of the site, with a slash at the end; without it, pages let the
    reader's browser say what it is.
    """

    def __init__(self, site_url: str = "") -> None:
        self._url = site_url

    # The simple index ---------------------------------------------------------------------------

    def simple_root(self, names: Iterable[str]) -> bytes:
        """Return the list of all projects in the simple index: of *names*, in their order."""
        return self._render("simple_root", names=names)

    def simple_project(self, project: SimpleProject) -> bytes:
        """Return the page of one project in the simple index."""
        return self._render(
            "simple_project",
            name=project.package,
            status=pages.status_of(project),
            files=pages.file_rows(project),
        )

    # For people ---------------------------------------------------------------------------------

    def home(
        self,
        stats: Mapping[str, Any],
        popular: Sequence[str],
        builds: Iterable[EndedBuild],
        known: Mapping[str, object],
    ) -> bytes:
        """Return the site's first page; *known* are the projects that have a page."""
        return self._page(
            "home",
            "Wheels, ready to install",
            facts=views.home_facts(stats),
            names=popular[:NAMES],
            more=len(known) > NAMES,
            recent=views.recent_builds(builds, known)[:RELEASES],
        )

    def packages(self, popular: Sequence[Found], total: int) -> bytes:
        """Return the page that searches all *total* projects, and names some without that."""
        return self._page("packages", "Search", popular=popular, total=total)

    def project(self, data: ProjectData, logs: Mapping[int, str]) -> bytes:
        """Return the page of one project; *logs* are those of builds that failed."""
        releases = views.release_blocks(data, logs)
        best = views.install_version(releases)
        return self._page(
            "project",
            data["name"],
            root="../../",
            name=data["name"],
            description=data["description"],
            skip=data["skip"],
            status=data["status"],
            releases=releases[: views.FULL],
            older=releases[views.FULL :],
            opened=_OPEN,
            best=best,
            # What has been yanked is installed only by who names it
            wanted=f"{data['name']}=={best.version}" if best and best.yanked else data["name"],
            apt=" ".join(sorted({name for file in best.files for name in file.apt.split()}))
            if best
            else "",
        )

    def stats(
        self, stats: Mapping[str, Any], activity: Activity, popular: Sequence[Found]
    ) -> bytes:
        """Return the page of the farm's figures."""
        waiting = stats.get("builds_pending")
        return self._page(
            "stats",
            "Figures",
            facts=views.farm_facts(stats),
            abis=views.abi_lines(activity.builds, waiting if isinstance(waiting, dict) else {}),
            days=views.days(activity.downloads),
            popular=popular,
        )

    def fixed(self) -> dict[str, bytes]:
        """Return the pages that are always the same, by name."""
        # That for what is not there is shown at any depth: it leads from the top.
        top = urlsplit(self._url).path or "/"
        return {
            "404.html": self._page("404", "Not found", root=top),
            "faq.html": self._page("faq", "Questions"),
            "json.html": self._page("json", "For programs"),
        }

    def _page(self, template: str, title: str, *, root: str = "", **values: Any) -> bytes:
        return self._render(
            template,
            macros=_templates()["layout"].macros,
            title=title,
            root=root,
            page=template,
            address=self._url.rstrip("/"),
            count=views.count_text,
            **values,
        )

    def _render(self, template: str, **values: Any) -> bytes:
        text = _templates()[template](api_version=pages.API_VERSION, **values)
        return str(text).encode("utf-8", "replace")


@cache
def _templates() -> PageTemplateLoader:
    return PageTemplateLoader(str(_folder("templates")), default_extension=".pt")


def static_files() -> dict[str, bytes]:
    """Return the files that are served as they are, by name."""
    return {path.name: path.read_bytes() for path in sorted(_folder("static").iterdir())}


def _folder(name: str) -> Path:
    return Path(str(resources.files("piwheels.master.site"))) / name
