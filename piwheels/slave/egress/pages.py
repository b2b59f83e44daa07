"""The pages of an index: read as JSON or HTML, and written for a mirror of it. Pure.

A page is the document of PEP 691, also if the index has only HTML (PEP 503). In the mirror, each
file is next to the page that lists it.
"""

from __future__ import annotations

import json
import re
from html import escape
from html.parser import HTMLParser
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

#: The types of pages, and what to accept of an index.
JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML: Final = "application/vnd.pypi.simple.v1+html"
ACCEPT: Final = f"{JSON}, {HTML};q=0.2, text/html;q=0.1"

#: The names of files that pip installs or builds.
_ARCHIVE: Final = re.compile(
    r"([^/\x00-\x1f\x7f\ud800-\udfff]{1,250})\.(?:whl|zip|tar|tar\.(?:gz|bz2|xz|lz|lzma)|tgz|tbz|txz|tlz)"
)
_CHARSET: Final = re.compile(r"charset=\"?([\w.-]{1,40})", re.ASCII | re.IGNORECASE)
#: The hashes that are checked, by their names in pages.
ALGORITHMS: Final = ("sha256", "sha384", "sha512", "blake2b", "sha1", "md5")
#: The attributes of links (PEP 503, 592, 658, 714) by the keys of PEP 691.
_ATTRIBUTES: Final = {
    "requires-python": "data-requires-python", "yanked": "data-yanked",
    "core-metadata": "data-core-metadata", "dist-info-metadata": "data-dist-info-metadata",
    "gpg-sig": "data-gpg-sig",
}  # fmt: skip

Document = dict[str, Any]
Hashes = dict[str, str]


class Listed(NamedTuple):
    """A file that a page lists: its address, and its hashes, by algorithm."""

    url: str
    hashes: Hashes


def read_page(kind: str, body: bytes, base: str) -> Document:
    """Return the page *body* of the type *kind*, which came from the address *base*.

    The addresses of its files are absolute; only the page of a local index lists local files.
    Raises ``ValueError`` if it is no page.
    """
    local = is_local(base)
    if kind.partition(";")[0].strip().lower() in (JSON, "application/json"):
        document = _read_json(body)
    else:
        charset = _CHARSET.search(kind)
        document, base = _read_html(body, charset[1] if charset else "utf-8", base)
    files = [found for file in document["files"] if (found := _checked(file, base, local))]
    return {**document, "files": files}


def listed(document: Document) -> dict[str, Listed]:
    """Return the files of a page, and their metadata (PEP 658), by name; the first of a name."""
    found: dict[str, Listed] = {}
    for file in document["files"]:
        name, url = file["filename"], file["url"]
        found.setdefault(name, Listed(url, _hashes(file.get("hashes"))))
        metadata = file.get("core-metadata", file.get("dist-info-metadata"))
        if metadata:
            found.setdefault(f"{name}.metadata", Listed(f"{url}.metadata", _hashes(metadata)))
    return found


def link_to(url: str) -> bytes:
    """Return a page in HTML that lists only the file at *url*."""
    return f'<a href="{escape(url)}">{escape(url)}</a>'.encode()


def is_local(url: str) -> bool:
    """Return whether *url* is one of a file of this machine."""
    return url.startswith("file:///")


def is_archive(url: str) -> bool:
    """Return whether *url* ends with the name of an archive."""
    return bool(_ARCHIVE.fullmatch(_filename(url)))


def without_suffix(filename: str) -> str:
    """Return the name of an archive without its suffix; other names unchanged."""
    match = _ARCHIVE.fullmatch(filename)
    return match[1].removesuffix(".tar") if match else filename


def write_page(document: Document, accept: str) -> tuple[str, bytes]:
    """Return the type and the bytes of a page of the mirror, for a client that accepts *accept*."""
    files = [{**file, "url": quote(file["filename"], safe="")} for file in document["files"]]
    if JSON in accept:
        return JSON, json.dumps({**document, "files": files}).encode()
    links = "".join(
        f"<a {_attributes(file)}>{escape(file['filename'])}</a><br>\n" for file in files
    )
    head = '<!DOCTYPE html><html><head><meta charset="utf-8"><title>Links</title></head><body>\n'
    return "text/html; charset=utf-8", f"{head}{links}</body></html>\n".encode("utf-8", "replace")


def _read_json(body: bytes) -> Document:
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(document, dict) or not isinstance(document.get("files"), list):
        raise ValueError("its JSON has no list of files")  # noqa: TRY004 (foreign data)
    return document


def _read_html(body: bytes, charset: str, base: str) -> tuple[Document, str]:
    try:
        text = body.decode(charset, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    links = _Links()
    links.feed(text)
    links.close()
    return {"meta": {"api-version": "1.0"}, "files": links.found}, urljoin(base, links.base)


class _Links(HTMLParser):
    """Collects the links of a page as files."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a link, or the base of relative ones."""
        given = dict(attrs)
        address = given.get("href")
        if tag == "base" and address and not self.base:
            self.base = address
        elif tag == "a" and address:
            file: dict[str, Any] = {"url": address}
            for key, attribute in _ATTRIBUTES.items():
                if attribute in given:
                    file[key] = _value(key, given[attribute])
            self.found.append(file)


def _value(key: str, text: str | None) -> Any:
    """Return the value of an attribute as PEP 691 has it."""
    match key:
        case "yanked":
            return text or True
        case "gpg-sig":
            return text == "true"
        case "core-metadata" | "dist-info-metadata":
            pair = (text or "").partition("=")
            return {pair[0]: pair[2]} if pair[1] else text == "true"
    return text


def _checked(file: Any, base: str, local: bool) -> dict[str, Any] | None:
    """Return *file* with its name and its absolute address; ``None`` if it cannot be fetched.

    *local*: it may be a file of this machine.
    """
    if not isinstance(file, dict) or not isinstance(file.get("url"), str):
        return None
    try:
        url, _, fragment = urljoin(base, file["url"].strip()).partition("#")
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        good = good or (local and is_local(url))
    except ValueError:
        return None
    name = _filename(url)
    if not good or not _ARCHIVE.fullmatch(name):
        return None
    hashes = _hashes(dict(parse_qsl(fragment))) | _hashes(file.get("hashes"))
    return {**file, "filename": name, "url": url, "hashes": hashes}


def _filename(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _hashes(value: Any) -> Hashes:
    """Return the hashes in *value* that can be checked."""
    if not isinstance(value, dict):
        return {}
    pairs = ((name, value.get(name)) for name in ALGORITHMS)
    return {name: text.lower() for name, text in pairs if isinstance(text, str)}


def _attributes(file: dict[str, Any]) -> str:
    pair = next(iter(file["hashes"].items()), None)
    made = {"href": file["url"] + (f"#{pair[0]}={pair[1]}" if pair else "")}
    for key, attribute in _ATTRIBUTES.items():
        value = file.get(key)
        if isinstance(value, dict):
            value = next((f"{name}={text}" for name, text in _hashes(value).items()), "true")
        if value is True:
            value = "" if key == "yanked" else "true"
        if isinstance(value, str):
            made[attribute] = value
    return " ".join(f'{name}="{escape(text)}"' for name, text in made.items())
