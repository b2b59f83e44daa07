"""How Sphinx makes pages of our documents: ``./go docs``. They are plain Markdown, and stay so."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from piwheels import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

#: The documents in the root of the repository.
PAGES = ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "RELEASING", "SECURITY")

project = "piwheels"
release = __version__
extensions = ["myst_parser"]
# The source directory is the repository, so that links among all documents are what they are.
root_doc = "docs/index"
include_patterns = ["docs/**.md", "sql/README.md", *(f"{name}.md" for name in PAGES)]
exclude_patterns = ["docs/_build"]
templates_path = ["_templates"]
myst_heading_anchors = 4  # links such as protocols.md#framing, as other Markdown viewers have them
nitpicky = True

html_theme = "furo"
html_title = "piwheels"
html_static_path = ["_static"]
html_css_files = ["left.css"]
html_show_sourcelink = False
html_copy_source = False


def _contents(_: Sphinx, name: str, source: list[str]) -> None:
    """Make of the links in an index to the pages below it what Sphinx wants for the side bar."""
    folder, last = posixpath.split(name)
    if last != "index":
        return
    links = re.findall(r"\]\(([\w./-]+)\.md\)", source[0])
    pages = dict.fromkeys(posixpath.normpath(posixpath.join(folder, link)) for link in links)
    below = [f"/{page}" for page in pages if name == root_doc or page.startswith(f"{folder}/")]
    source[0] += "\n".join(["", "```{toctree}", ":hidden:", *below, "```", ""])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _contents)
