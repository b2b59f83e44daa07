"""The configuration of Sphinx, which converts the documents to HTML (``./go docs``)."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from piwheels import __version__
from piwheels.core import states

if TYPE_CHECKING:
    from sphinx.application import Sphinx

#: The documents in the root of the repository.
PAGES = ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "RELEASING", "SECURITY")

project = "piwheels"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
# The source directory is the repository, so that links between all documents work.
root_doc = "docs/index"
include_patterns = ["docs/**.md", "sql/README.md", *(f"{name}.md" for name in PAGES)]
exclude_patterns = ["docs/_build"]
templates_path = ["_templates"]
myst_heading_anchors = 4  # links such as protocols.md#framing, as in other Markdown viewers
nitpicky = True
smartquotes = False  # `--option` in a table stays as it is

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
nitpick_ignore_regex = [
    ("py:class", r"(?!piwheels\.).*"),  # other packages have no pages here
    ("py:class", r"piwheels\..*\.(_\w+|[A-Z])"),
    ("py:mod", r"piwheels\.(?!core\.).*"),
]

html_theme = "furo"
html_title = "piwheels"
html_static_path = ["_static"]
html_css_files = ["left.css"]
html_show_sourcelink = False
html_copy_source = False


def _contents(_: Sphinx, name: str, source: list[str]) -> None:
    """Add a toctree for the side bar, from the links in an index."""
    folder, last = posixpath.split(name)
    if last != "index":
        return
    links = re.findall(r"\]\(([\w./-]+)\.md\)", source[0])
    pages = dict.fromkeys(posixpath.normpath(posixpath.join(folder, link)) for link in links)
    below = [f"/{page}" for page in pages if name == root_doc or page.startswith(f"{folder}/")]
    source[0] += "\n".join(["", "```{toctree}", ":hidden:", *below, "```", ""])


_TUPLE_FIELD = type(states.SlaveStats.timestamp)

#: The names of types with limits, by their full annotations.
_ALIASES = {
    str(alias).removeprefix("typing."): name
    for name, alias in vars(states).items()
    if hasattr(alias, "__metadata__")
}


def _short_signature(*args: Any) -> tuple[str | None, str | None]:
    """Replace ``Annotated[int, Limit(...)]`` by ``Count`` in a signature."""
    signature, result = args[-2:]
    for long, name in _ALIASES.items():
        signature = signature and re.sub(rf"(~?typing\.)?{re.escape(long)}", name, signature)
    return signature, result


def _is_field(*args: Any) -> bool | None:
    """Omit the fields of named tuples, which the signature of the class shows."""
    return True if isinstance(args[3], _TUPLE_FIELD) else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _contents)
    app.connect("autodoc-process-signature", _short_signature)
    app.connect("autodoc-skip-member", _is_field)
