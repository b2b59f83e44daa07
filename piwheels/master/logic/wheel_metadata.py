"""What a wheel's METADATA says about its project. Pure.

Its authors wrote it, and may be hostile. Every value is cut to a size and every list to a length,
control characters are replaced, and invalid values are left out. The time that parsing takes is not
limited here: ``master/site/describer.py`` does that.
"""

from __future__ import annotations

import re
from email.utils import getaddresses
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from piwheels.core.text import MARK, clean_lines
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The sizes of values in characters: of one line, of a requirement or an address, of a label.
LINE, LONG, LABEL = 500, 1000, 40
#: The lengths of lists: requirements, links, others.
REQUIREMENTS, LINKS, ITEMS = 200, 20, 50
#: The longest description, in characters.
MAX_TEXT: Final = 250_000
#: Characters that change the order of those around them, and could forge a line.
_DIRECTIONS: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
#: Code points that are no characters, by definition; HTML excludes them.
_NO_CHARACTERS: Final = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_PYTHON: Final = re.compile(r"Programming Language :: Python :: ([0-9]+(?:\.[0-9]+)?)", re.ASCII)
_PATH: Final = r"(?:[\w.~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"
_QUERY: Final = _PATH.replace("/", "/?")
_ADDRESS: Final = re.compile(
    r"(?i:https?)://(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
    rf"(?:/{_PATH})?(?:\?{_QUERY})?(?:#{_QUERY})?",
    re.ASCII,
)
_EXTRA: Final = re.compile(r"\bextra\b")
_BRACKETED: Final = re.compile(r"<[^<>]*>|\([^()]*@[^()]*\)")


class Metadata(NamedTuple):
    """The metadata of a wheel: of one release of a project.

    *license* is an SPDX expression or a short name. *authors* and *maintainers* are names, without
    addresses. *requires_python* is a specifier (PEP 440), *requires_dist* are requirements (PEP
    508), and *needs* the normalized names of those without an extra, each with the rest of its
    text. *pythons* are the versions that the classifiers name. *links* are pairs of a label and an
    http(s) address. Unknown texts are ``""``.
    """

    summary: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()
    maintainers: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    requires_python: str = ""
    requires_dist: tuple[str, ...] = ()
    provides_extra: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    needs: tuple[tuple[str, str], ...] = ()


class Parsed(NamedTuple):
    """What METADATA contains: *metadata*, the *description* and its media type (may be ``""``).

    *left_out* are the names of the fields with values that are invalid or too many, sorted.
    """

    metadata: Metadata
    description: str
    media_type: str
    left_out: list[str]


def parse(data: bytes) -> Parsed:
    """Return what METADATA, given as *data*, contains. Raises nothing."""
    raw, unparsed = parse_email(data)
    left_out = {name[:LABEL] for name in unparsed if name.isprintable()}
    for field in [field for field, value in raw.items() if value == "UNKNOWN"]:
        del raw[field]  # type: ignore[misc]  # setuptools once wrote it for missing values

    def some(field: str, found: Iterable[Any], values: Iterable[Any], most: int) -> tuple[Any, ...]:
        """Return at most *most* of *found*, each once; note whether any of *values* is lost."""
        kept = tuple(dict.fromkeys(found))
        if len(kept[:most]) < len(set(values)):
            left_out.add(field)
        return kept[:most]

    extras = raw.get("provides_extra", [])
    keywords = list(filter(None, map(line, raw.get("keywords", []))))
    classifiers = raw.get("classifiers", [])
    pythons = {match[1] for each in classifiers if (match := _PYTHON.fullmatch(each.strip()))}
    links = list(_links(raw))
    addresses = [address for _, address in links]
    lines = raw.get("requires_dist", [])
    requirements = some("requires-dist", _requirements(lines), lines, REQUIREMENTS)
    python = line(raw.get("requires_python", ""))
    if not _is_specifier(python):
        python = ""
        left_out.add("requires-python")
    metadata = Metadata(
        summary=line(raw.get("summary", "")),
        license=_license(raw),
        authors=_names(raw.get("author", ""), raw.get("author_email", "")),
        maintainers=_names(raw.get("maintainer", ""), raw.get("maintainer_email", "")),
        keywords=some("keywords", keywords, keywords, ITEMS),
        requires_python=python,
        requires_dist=tuple(text for text, _ in requirements),
        provides_extra=some("provides-extra", filter(None, map(_name, extras)), extras, ITEMS),
        pythons=tuple(sorted(pythons, key=_python_key))[:ITEMS],
        links=some("project-url", _good_links(links), addresses, LINKS),
        needs=tuple(need for _, need in requirements if need is not None),
    )
    return Parsed(
        metadata,
        text(raw.get("description", "")),
        line(raw.get("description_content_type", "")).lower(),
        sorted(left_out)[:ITEMS],
    )


def line(value: str, size: int = LINE) -> str:
    """Return *value* as one line of at most *size* characters, all of them printable."""
    cut = value[: 4 * size]
    words = "".join(char if char.isprintable() else " " for char in cut).split()
    joined = " ".join(words)
    return joined if len(joined) <= size else f"{joined[: size - 1].rstrip()}…"


def text(value: str) -> str:
    """Return a description without what :func:`tidy` removes, cut to its maximum size."""
    return tidy(value[:MAX_TEXT]).replace("\r\n", "\n")


def tidy(value: str) -> str:
    """Return *value* without characters that HTML excludes, and that change its direction."""
    kept = _DIRECTIONS.sub("", value)
    return _NO_CHARACTERS.sub(MARK, clean_lines(kept, len(kept)))


def body(data: bytes) -> str:
    """Return the description that follows the fields of METADATA, as plain text.

    This is for a METADATA that :func:`parse` has failed to read in time.
    """
    _, _, rest = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    return text(rest[: 4 * MAX_TEXT].decode("utf-8", "replace"))


def preformatted(text: str) -> str:
    """Return *text* as preformatted text in HTML (``""`` for an empty text)."""
    text = text.strip("\n")
    # A parser drops the first line end in <pre>
    return f"<pre>\n{escape(text, quote=False)}</pre>" if text.strip() else ""


def _requirements(values: Iterable[str]) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Yield each valid requirement, with its name and rest unless it belongs to an extra."""
    for value in map(str.strip, values):
        if len(value) > LONG or not value.isprintable():
            continue
        try:
            requirement = Requirement(value)
            marker = str(requirement.marker or "")
        except (InvalidRequirement, RecursionError):
            continue
        # An index forbids direct references (PEP 508): they lead installers elsewhere
        if requirement.url is None and len(requirement.name) <= LINE:
            rest = value[len(requirement.name) :].strip()
            need = (canonical(requirement.name), rest)
            yield value, None if _EXTRA.search(marker) else need


def _license(raw: RawMetadata) -> str:
    classifiers = [each.split(" :: ") for each in raw.get("classifiers", [])]
    named = [parts[-1] for parts in classifiers if parts[0] == "License" and len(parts) > 1]
    first, _, more = raw.get("license", "").strip().partition("\n")
    if expression := raw.get("license_expression", ""):
        return line(expression, 2 * LABEL)
    if first and not more and len(first) <= 2 * LABEL:
        return line(first, 2 * LABEL)
    # The field often has the whole text of the licence; its first line names it
    return line(", ".join(dict.fromkeys(named)) or first, 2 * LABEL)


def _names(names: str, addresses: str) -> tuple[str, ...]:
    """Return the names in a field of names and one of e-mail addresses, without the addresses."""
    plain = _BRACKETED.sub("", names[:LONG])
    found = [line(each, 2 * LABEL) for each in plain.split(",")]
    if not any(found):
        found = [line(name, 2 * LABEL) for name, _ in getaddresses([addresses[:LONG]])]
    return tuple(dict.fromkeys(name for name in found if name and "@" not in name))[:ITEMS]


def _links(raw: RawMetadata) -> Iterator[tuple[str, str]]:
    if home := raw.get("home_page", "").strip():
        yield "Homepage", home
    for label, address in raw.get("project_urls", {}).items():
        yield line(label, LABEL), address.strip()
    if download := raw.get("download_url", "").strip():
        yield "Download", download


def _good_links(links: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    seen = set()
    for label, address in links:
        if is_web_address(address) and address not in seen:
            seen.add(address)
            yield label or "Link", address


def is_web_address(address: str) -> bool:
    """Return whether *address* is a valid http(s) address (RFC 3986), without a user name."""
    if len(address) > LONG or not _ADDRESS.fullmatch(address):
        return False
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _name(value: str) -> str:
    return line(value, LABEL) if re.fullmatch(r"[\w.-]+", value, re.ASCII) else ""


def _is_specifier(value: str) -> bool:
    try:
        SpecifierSet(value)
    except InvalidSpecifier:
        return False
    return True


def _python_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
