"""Paths and names on the site, for its writers and readers. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

#: The version of the files that each project has on the site. Raise it when a project's page gets a
#: new file, or when an earlier page must not stay: a master that finds an earlier number writes the
#: pages of all projects again, in the background.
LAYOUT: Final = 4
#: The files of the working directory that stay: the lock of a running master, the site's layout.
LOCK_FILE: Final = "lock"
LAYOUT_FILE: Final = "layout"
#: The files of each folder in the simple index, in the order in which they are published.
INDEX: Final = ("index.v1_json", "index.html", "index.v1_html")
#: The end of the name of a page's compressed copy; shorter pages, in bytes, have none.
PACKED: Final = ".gz"
MIN_PACKED: Final = 1000
#: All files of a folder in the simple index, except the wheels.
INDEX_FILES: Final = (*INDEX, *(f"{name}{PACKED}" for name in INDEX))
#: The name of an Atom feed, and how many builds the feed of a project lists at most.
FEED: Final = "feed.atom"
FEED_SIZE: Final = 20
#: The files at the root of the site, next to the folders for projects and logs.
OWN: Final = re.compile(
    r"(?:(?:index|packages|faq|failures|json|stats|404)\.html|(?:packages|summaries[0-9]+)\.json"
    r"|feed\.atom|[a-z]+\.(?:css|js))(?:\.gz)?"
    r"|sitemap(?:-?[0-9]+)?\.xml|robots\.txt|[a-z]+\.(?:svg|png|ico)"
)
#: An alias: another spelling of a project's name, the name of a link to its page.
ALIAS: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
#: The path of a build's log, relative to the site.
LOG: Final = re.compile(r"logs/([0-9]{4})/([0-9]{4})/([0-9]{4})\.txt\.gz")

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~!$'()*+,=:@%-]+)*/?", re.ASCII)


def log_name(build_id: int) -> str:
    """Return the path of a build's log relative to the site: its number in groups of four digits.

    Raises ``ValueError`` if *build_id* is out of range.
    """
    if not 0 <= build_id < 10**12:
        raise ValueError(f"{build_id} is not the number of a build")
    digits = f"{build_id:012d}"
    return f"logs/{digits[:4]}/{digits[4:8]}/{digits[8:]}.txt.gz"


def site_address(text: str) -> str:
    """Return the address of a site with a final slash; an empty *text* (unknown) stays empty.

    Raises ``ValueError`` unless *text* is a plain http(s) address of a folder.
    """
    if text and not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is not the address of a site: write https://HOST/")
    return f"{text.rstrip('/')}/" if text else ""


def webhook_address(text: str) -> str:
    """Return the http(s) address *text* for webhooks. Raises ``ValueError`` for other text."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        good = good and parts.username is None  # it would not be sent
    except ValueError:
        good = False
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a webhook is not an http(s) address: write https://HOST/PATH")
    return text


def log_number(path: str) -> int | None:
    """Return the number of the build whose log is at *path*, or ``None`` for any other file."""
    match = LOG.fullmatch(path)
    return int("".join(match.groups())) if match else None


def work_path(output_path: Path) -> Path:
    """Return the working directory next to the site: on the same file system, never served."""
    site = output_path.absolute()
    return site.with_name(f".{site.name}.work")
