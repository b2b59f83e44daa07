"""The contents of the site-wide files: the root of the index, the search data, the sitemap. Pure.

There may be 600,000 projects. Text is built line by line, because a single library call over all
of them would block the other threads.
"""

from __future__ import annotations

from itertools import islice
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.master.logic.simple_index import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

#: The maximum number of addresses in a sitemap file, by its standard.
SITEMAP_SIZE: Final = 50_000
#: How many projects a file of summaries covers, and the length of a summary in characters.
SUMMARIES: Final = 10_000
SUMMARY: Final = 200
#: The site-wide pages that the sitemap lists, relative to the site's address.
OWN_PAGES: Final = ("", "packages.html", "faq.html", "failures.html", "json.html", "stats.html")
_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SCHEMA: Final = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


class Found(NamedTuple):
    """A project in a list, with its downloads in the last 30 days and in total."""

    name: str
    recent: int
    ever: int


def root_json(packages: Iterable[str]) -> bytes:
    """Return the root of the simple index as JSON (PEP 691), sorted by name."""
    names = ",".join(f'{{"name":{quoted(name)}}}' for name in by_name(packages))
    return f'{{"meta":{{"api-version":"{API_VERSION}"}},"projects":[{names}]}}\n'.encode()


def by_name(names: Iterable[str]) -> Iterator[str]:
    """Yield *names* in alphabetical order; sorts one letter at a time, as a sort blocks threads."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name[:1], []).append(name)
    for letter in sorted(groups):
        yield from sorted(groups[letter])


def ranked(downloads: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the names, most downloaded first."""
    names = list(by_name(downloads))
    used = [name for name in names if any(downloads[name])]
    used.sort(
        key=lambda name: downloads[name], reverse=True
    )  # a stable sort: equal counts stay in alphabetical order
    return used + [name for name in names if not any(downloads[name])]


def search_json(names: Iterable[str], downloads: Mapping[str, tuple[int, int]]) -> bytes:
    """Return the search data: a JSON list with ``[name, recent, ever]`` for each of *names*.

    Each project has a line of its own: ``search.js`` searches the text and parses only the lines
    that it shows.
    """
    rows = ",\n".join(
        f"[{quoted(name)},{recent},{ever}]" for name, recent, ever in found(names, downloads)
    )
    return f"[{rows}]\n".encode()


def summary_parts(names: Sequence[str]) -> list[Sequence[str]]:
    """Return *names*, most downloaded first, in parts: each has a file of summaries.

    A browser loads the first part with a search, and the others on request.
    """
    return [names[start : start + SUMMARIES] for start in range(0, len(names), SUMMARIES)]


def summaries_json(names: Iterable[str], summaries: Mapping[str, str]) -> bytes:
    """Return the summaries of a part: a JSON list with ``[name, summary]`` in the order of *names*.

    Omits projects without a summary.
    """
    rows = ",\n".join(
        f"[{quoted(name)},{quoted(summaries[name])}]" for name in names if name in summaries
    )
    return f"[{rows}]\n".encode()


def found(names: Iterable[str], downloads: Mapping[str, tuple[int, int]]) -> Iterable[Found]:
    """Yield *names* with their downloads."""
    return (Found(name, *downloads[name]) for name in names)


def sitemap(address: str, packages: Iterable[str]) -> dict[str, bytes]:
    """Return the sitemap of the site at *address*: its files by name, their index last.

    It contains no times, because the time of a page's last change is not recorded.
    """
    pages = (*OWN_PAGES, *(f"project/{name}/" for name in by_name(packages)))
    files: dict[str, bytes] = {}
    for start in range(0, len(pages), SITEMAP_SIZE):
        part = islice(pages, start, start + SITEMAP_SIZE)
        rows = "".join(f"<url><loc>{_xml(address + page)}</loc></url>\n" for page in part)
        name = f"sitemap{len(files) + 1}.xml"
        files[name] = f"{_XML}<urlset {_SCHEMA}>\n{rows}</urlset>\n".encode()
    rows = "".join(f"<sitemap><loc>{_xml(address + name)}</loc></sitemap>\n" for name in files)
    return {
        **files,
        "sitemap.xml": f"{_XML}<sitemapindex {_SCHEMA}>\n{rows}</sitemapindex>\n".encode(),
    }


def robots(address: str) -> bytes:
    """Return ``robots.txt``, which excludes the simple index and the build logs."""
    lines = ["User-agent: *", "Disallow: /simple/", "Disallow: /logs/", "Allow: /"]
    lines += ["", f"Sitemap: {address}sitemap.xml"] if address else []
    return "".join(f"{line}\n" for line in lines).encode()


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
