"""Renders the description of a project as HTML that a page of this site can contain.

The text comes from the authors of a wheel, and may be hostile. ``readme_renderer`` converts and
sanitises it, as for the upstream index; :class:`_Adapted` then makes it a part of our page; and
``nh3`` sanitises the result once more, with a list of allowed elements that is shorter. This module
needs much memory, and some texts take minutes: only ``describer.py`` imports it, in a process of
its own.
"""

from __future__ import annotations

import re
import warnings
from html import escape
from html.parser import HTMLParser
from typing import Final

import nh3
from readme_renderer import markdown, rst

from piwheels.master.logic.wheel_metadata import is_web_address, preformatted, tidy

#: The largest result, in characters; a description that becomes larger is shown as plain text.
MAX_HTML: Final = 1_000_000
#: The first letters of each ``id``: none is equal to one of the page.
PREFIX: Final = "readme-"
_ATTRIBUTES: Final = {
    "a": {"href", "id"}, "div": {"id"}, "li": {"id"}, "ol": {"start"}, "p": {"id"}, "span": {"id"},
    "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"},
    **{f"h{level}": {"id"} for level in range(3, 7)},
}  # fmt: skip
_TAGS: Final = {
    *_ATTRIBUTES, "abbr", "b", "blockquote", "br", "caption", "cite", "code", "dd", "del", "dl",
    "dt", "em", "hr", "i", "kbd", "pre", "strong", "sub", "sup", "table", "tbody", "thead", "tr",
    "ul", "var",
}  # fmt: skip
#: Elements that become others.
_OTHERS: Final = {
    "acronym": "abbr", "tt": "code", **dict.fromkeys(
        ("section", "aside", "nav", "figure", "figcaption", "details", "summary"), "div"
    ),
}  # fmt: skip
_VOID: Final = frozenset({"br", "hr", "img", "input", "col"})
_HEADING: Final = re.compile(r"h[1-6]")
_ID: Final = re.compile(r"[\w.:-]{1,200}", re.ASCII)
_COMMONMARK: Final = re.compile(r'\bvariant *= *"?commonmark\b')
_IDENT: Final = re.compile(r' id="[^"]*"')
_NUMBERS: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


def render(text: str, media_type: str) -> str:
    """Return *text* as HTML: the contents of an element whose heading is an ``h2``.

    *media_type* is a Description-Content-Type. Text that has none is reStructuredText by
    definition, and shown as it is if it is not. Raises nothing.
    """
    return _converted(text, media_type) or preformatted(text)


def _converted(text: str, media_type: str) -> str | None:
    kind, _, parameters = media_type.lower().partition(";")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if kind.strip() == "text/markdown":
                variant = "CommonMark" if _COMMONMARK.search(parameters) else "GFM"
                html = markdown.render(text, variant)
            elif kind.strip() in {"", "text/x-rst"}:
                html = rst.render(text)
            else:
                return None
        except Exception:  # noqa: BLE001 (docutils raises many kinds for invalid text)
            return None
    if html is None or len(html) > MAX_HTML:
        return None
    html = nh3.clean(
        _Adapted(html).result(),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        link_rel="nofollow noopener",
        url_schemes={"http", "https"},
    )
    # An entity may have stood for any character
    return tidy(html).strip() if len(html) <= MAX_HTML else None


def _attribute(_: str, name: str, value: str) -> str | None:
    match name:
        case "href":
            known = value.startswith(f"#{PREFIX}") or is_web_address(value)
        case "id":
            known = value.startswith(PREFIX)
        case "rel":
            known = True
        case _:
            known = bool(_NUMBERS.fullmatch(value))
    return value if known else None


class _Adapted(HTMLParser):
    """Adapts sanitised *html* to the page.

    Headings are below ``h2``, and none skips a level. Images, which would tell other hosts about
    the visitors, become links; decorative ones are left out. Only links to the web and to an
    existing place of the text remain. Headings, links and header cells without text would confuse
    screen readers: they become elements without a meaning.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        #: Open elements: the tag, the tag that replaces it, the index in *out*, the texts before.
        self._open: list[tuple[str, str, int, int]] = []
        self._levels: list[int] = []
        self._texts = 0
        self._ids: set[str] = set()
        #: The places of links to an ``id``, by their index in *out*.
        self._local: dict[int, str] = {}
        self._links = 0
        self.feed(html)
        self.close()

    def result(self) -> str:
        """Return the adapted HTML."""
        for place, target in self._local.items():
            if target not in self._ids:
                self._out[place] = "<a>"
        return "".join(self._out)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the start of an element."""
        values = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._image(values)
        elif tag == "input":
            self._say("\N{BALLOT BOX WITH CHECK} " if "checked" in values else "\N{BALLOT BOX} ")
        elif tag in _VOID:
            self._out.append(f"<{tag}>" if tag in _TAGS else "")
        else:
            name = self._replacement(tag, values)
            attributes = self._attributes(name, values)
            if name in {"a", "span"} and not attributes:
                name = ""
            self._open.append((tag, name, len(self._out), self._texts))
            self._links += name == "a"
            self._out.append(f"<{name}{attributes}>" if name else "")

    def handle_endtag(self, tag: str) -> None:
        """Take the end of an element; a sanitised text closes each in its order."""
        if not self._open or self._open[-1][0] != tag:
            return
        _, name, place, texts = self._open.pop()
        self._links -= name == "a"
        is_heading = _HEADING.fullmatch(name) is not None
        if self._texts == texts and is_heading and self._levels[-1:] == [int(tag[1])]:
            self._levels.pop()  # it is none
        if self._texts == texts and (name in {"a", "th"} or is_heading):
            ident = _IDENT.search(self._out[place])
            name = {"a": "span" if ident else "", "th": "td"}.get(name, "div")
            self._out[place] = f"<{name}{ident[0] if ident else ''}>" if name else ""
            self._local.pop(place, None)
        if name:
            self._out.append(f"</{name}>")

    def handle_data(self, data: str) -> None:
        """Take text."""
        self._say(data)

    def _say(self, text: str) -> None:
        self._texts += bool(text.strip())
        self._out.append(escape(text, quote=False))

    def _image(self, values: dict[str, str]) -> None:
        text, source = values.get("alt", "").strip(), values.get("src", "")
        if self._links:
            self._say(text if text not in {"", source} else source.rsplit("/", 1)[-1])
        elif not is_web_address(source):
            self._say(text)
        elif text:
            self._out.append(f'<a href="{escape(source)}">')
            self._say(text)
            self._out.append("</a>")

    def _replacement(self, tag: str, values: dict[str, str]) -> str:
        if _HEADING.fullmatch(tag):
            return self._heading(int(tag[1]))
        if tag == "span" and "literal" in values.get("class", "").split():
            return "code"
        return _OTHERS.get(tag, tag)

    def _heading(self, level: int) -> str:
        while self._levels and self._levels[-1] >= level:
            self._levels.pop()
        self._levels.append(level)
        return f"h{min(2 + len(self._levels), 6)}"

    def _attributes(self, name: str, values: dict[str, str]) -> str:
        kept = ("start", "colspan", "rowspan")
        made: dict[str, str] = {key: values[key] for key in kept if key in values}
        if "id" in _ATTRIBUTES.get(name, ()) and (ident := self._new_id(values.get("id", ""))):
            made["id"] = ident
        target = values.get("href", "")
        if target.startswith("#") and _ID.fullmatch(target[1:]):
            self._local[len(self._out)] = PREFIX + target[1:]
            made["href"] = f"#{PREFIX}{target[1:]}"
        elif is_web_address(target):
            made["href"] = target
        return "".join(f' {key}="{escape(value)}"' for key, value in made.items())

    def _new_id(self, ident: str) -> str:
        made = PREFIX + ident
        if not _ID.fullmatch(ident) or made in self._ids:
            return ""
        self._ids.add(made)
        return made
