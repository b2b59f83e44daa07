"""Reads an Atom feed, and checks it against the rules of RFC 4287."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree as ET

ATOM, XHTML = "{http://www.w3.org/2005/Atom}", "{http://www.w3.org/1999/xhtml}"
ANY = 10**9
#: The allowed children of an element: the least and the most of each.
FEED = {
    "id": (1, 1), "title": (1, 1), "updated": (1, 1), "author": (1, ANY), "link": (1, ANY),
    "icon": (0, 1), "entry": (0, ANY),
}  # fmt: skip
ENTRY = {
    "id": (1, 1), "title": (1, 1), "updated": (1, 1), "link": (1, ANY), "category": (0, ANY),
    "summary": (0, 1),
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
TYPE = re.compile(r"[a-z]+/[a-z+]+", re.ASCII)


def read(data, address):
    """Check the feed *data* from *address*; return its id, and its entries as dictionaries.

    Links are absolute. *why* is the text of the element ``pre``, or ``None``.
    """
    feed = ET.fromstring(data)  # noqa: S314 (our own)
    assert feed.tag == f"{ATOM}feed"
    _check(feed, FEED)
    assert feed.findtext(f"{ATOM}author/{ATOM}name")
    links = _links(feed, address)
    assert links["self"] == address
    entries = []
    for entry in feed.iter(f"{ATOM}entry"):
        _check(entry, ENTRY)
        category, summary = entry.find(f"{ATOM}category"), entry.find(f"{ATOM}summary")
        assert category.get("term")
        assert summary.get("type") == "xhtml"
        assert [child.tag for child in summary] == [f"{XHTML}div"]
        assert not (summary.text or "").strip()
        assert {each.tag.removeprefix(XHTML) for each in summary.iter()} - {summary.tag} <= {
            "div", "p", "pre", "a",
        }  # fmt: skip
        entries.append(
            {
                **{name: entry.findtext(ATOM + name) for name in ("id", "title", "updated")},
                **_links(entry, address),
                "status": category.get("term"),
                "summary": summary.findtext(f"{XHTML}div/{XHTML}p"),
                "why": summary.findtext(f"{XHTML}div/{XHTML}pre"),
            }
        )
    ids = [each["id"] for each in entries]
    assert len(set(ids)) == len(ids)
    updated = feed.findtext(f"{ATOM}updated")
    assert updated == max((each["updated"] for each in entries), default=updated)
    return feed.findtext(f"{ATOM}id"), entries


def _check(element, allowed):
    counts = Counter(child.tag.removeprefix(ATOM) for child in element)
    assert counts.keys() <= allowed.keys()
    for name, (least, most) in allowed.items():
        assert least <= counts[name] <= most, name
    assert urlsplit(element.findtext(f"{ATOM}id")).scheme in {"urn", "https"}
    assert element.findtext(f"{ATOM}title").strip()
    assert TIME.fullmatch(element.findtext(f"{ATOM}updated"))


def _links(element, address):
    found = {}
    for link in element.findall(f"{ATOM}link"):
        assert TYPE.fullmatch(link.get("type"))
        assert link.get("rel") not in found
        found[link.get("rel")] = urljoin(address, link.get("href"))
    assert "alternate" in found
    return found
