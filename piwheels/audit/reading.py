"""Read pages of any size and content, block by block.

Errors in a page are raised as ``ValueError``, with a sentence.
"""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 2**13
#: The longest accepted element of a list, and link of a page, in characters.
_MAX_ELEMENT: Final = 2**20


def elements(file: BinaryIO, before: str, after: str) -> Iterator[Any]:
    """Yield the elements of a list in the JSON of *file*, without reading the file whole.

    *before* is the text up to the start of the list (``"projects":[``), *after* the text that must
    follow its end, without white space. An element is an object, a list or a string.
    """
    decoder = json.JSONDecoder()
    text = _Text(file)
    while before not in text.rest:
        if len(text.rest) > _MAX_ELEMENT or not text.more():
            raise ValueError(f"does not contain {before}")
    text.rest = text.rest.partition(before)[2]
    first = True
    while True:
        head = text.head()
        if head == "]":
            break
        if not first:
            if head != ",":
                raise ValueError(f"is not JSON: {head!r} instead of the next element")
            text.rest = text.rest.lstrip()[1:]
            text.head()
        first = False
        element, end = text.decode(decoder)
        yield element
        text.rest = text.rest[end:]
    while text.more():
        if len(text.rest) > _MAX_ELEMENT:
            break
    if "".join(text.rest.split()) != f"]{after}":
        raise ValueError("is cut off, or has data after its end")


class _Text:
    """The text of *file* that was read and not yet consumed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.rest = ""

    def more(self) -> bool:
        """Read the next block; return whether there was one. (The JSON is ASCII.)"""
        chunk = self._file.read(_CHUNK)
        self.rest += chunk.decode("ascii", "replace")
        return bool(chunk)

    def head(self) -> str:
        """Return the next character that is not white space."""
        while not (rest := self.rest.lstrip()):
            if not self.more():
                raise ValueError("is cut off")
        self.rest = rest
        return rest[0]

    def decode(self, decoder: json.JSONDecoder) -> tuple[Any, int]:
        """Return the next value, and the position of its end in *rest*."""
        while True:
            try:
                value, end = decoder.raw_decode(self.rest)
            except (ValueError, RecursionError) as exc:
                if len(self.rest) > _MAX_ELEMENT or not self.more():
                    raise ValueError(f"is not JSON: {exc}") from None
            else:
                if not isinstance(value, (dict, list, str)):  # it may continue in the next block
                    raise ValueError(f"has an unknown format: {value!r} in a list")  # noqa: TRY004 (the page is wrong)
                return value, end


def links(file: BinaryIO) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Yield the text and the attributes of each link in the HTML of *file*."""
    parser = _Links()
    while chunk := file.read(_CHUNK):
        parser.feed(chunk.decode("utf-8", "replace"))
        yield from parser.take()
        if len(parser.rawdata) > _MAX_ELEMENT:
            raise ValueError("has a tag without an end")
    parser.close()
    yield from parser.take()
    if not parser.whole:
        raise ValueError("is cut off, or has data after its end")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.whole = False
        self._found: list[tuple[str, dict[str, str | None]]] = []
        self._open: dict[str, str | None] | None = None
        self._text = ""

    def take(self) -> list[tuple[str, dict[str, str | None]]]:
        found, self._found = self._found, []
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.whole = False
        if tag == "a":
            self._open, self._text = dict(attrs), ""

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.whole = False
        if self._open is not None and len(self._text) < _MAX_ELEMENT:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open is not None:
            self._found.append((self._text.strip(), self._open))
            self._open = None
        elif tag == "html":
            self.whole = True
