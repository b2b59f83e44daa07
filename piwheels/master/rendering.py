"""The site's HTML: the templates beside this module, filled with what logic/pages.py makes.

Chameleon escapes whatever is put in; no template marks anything as markup.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chameleon import PageTemplateLoader

from piwheels.master.logic import pages

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from piwheels.core.rows import ProjectData, SimpleProject

#: The most projects that the first page names; more are for the list of all.
MAX_NAMES = 300


class Renderer:
    """Makes pages; the templates are read (and compiled) the first time that each is used."""

    def __init__(self) -> None:
        self._loader = PageTemplateLoader(str(_folder("templates")), default_extension=".pt")

    def simple_root(self, packages: Collection[str]) -> bytes:
        """Return the list of all projects in the simple index."""
        return self._render("simple_root", names=sorted(packages))

    def simple_project(self, project: SimpleProject) -> bytes:
        """Return the page of one project in the simple index."""
        return self._render(
            "simple_project",
            name=project.package,
            status=pages.status_of(project),
            files=pages.file_rows(project),
        )

    def project(self, data: ProjectData) -> bytes:
        """Return the page of one project for people."""
        releases = pages.release_blocks(data)
        newest = next((release.files for release in releases if release.files), [])
        return self._render(
            "project",
            root="../../",
            title=f"{data['name']} - piwheels",
            name=data["name"],
            description=data["description"],
            skip=data["skip"],
            releases=releases,
            installable=bool(newest),
            apt=" ".join(sorted({name for file in newest for name in file.apt.split()})),
        )

    def home(self, stats: Mapping[str, Any], packages: Collection[str]) -> bytes:
        """Return the site's first page."""
        few = len(packages) <= MAX_NAMES
        return self._render(
            "home",
            root="",
            title="piwheels",
            facts=pages.home_facts(stats),
            names=sorted(packages) if few else [],
            more="" if few else f"{len(packages):,}",
        )

    def not_found(self) -> bytes:
        """Return the page for what is not there; it is shown at any depth."""
        return self._render("404", root="/", title="Not found - piwheels")

    def _render(self, template: str, **values: Any) -> bytes:
        layout = self._loader["layout"]
        text = self._loader[template](layout=layout, api_version=pages.API_VERSION, **values)
        return str(text).encode("utf-8", "replace")


def static_files() -> dict[str, bytes]:
    """Return the files that are served as they are, by name."""
    return {path.name: path.read_bytes() for path in sorted(_folder("static").iterdir())}


def _folder(name: str) -> Path:
    return Path(str(resources.files("piwheels.master"))) / name
