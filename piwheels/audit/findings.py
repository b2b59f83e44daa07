"""The kinds of findings, and the remedy for each."""

from __future__ import annotations

import json
from enum import Enum
from typing import Final, NamedTuple


class Remedy(Enum):
    """The remedy for a finding, worded as an instruction."""

    BUILD = "build it again"
    REWRITE = "rewrite the pages"
    METADATA = "extract the .metadata from the wheel again"
    MODE = "make it readable for everybody"
    MOVE = "move it out of the site"
    DERIVED = "rebuild the derived data"
    NONE = "investigate: piw-audit cannot repair it"


#: Every kind of finding, and its remedy.
KINDS: Final = {
    "missing-file": Remedy.BUILD,
    "wrong-size": Remedy.BUILD,
    "wrong-hash": Remedy.BUILD,
    "bad-wheel": Remedy.BUILD,
    "not-a-file": Remedy.MOVE,
    "missing-metadata": Remedy.METADATA,
    "wrong-metadata": Remedy.METADATA,
    "foreign": Remedy.MOVE,
    "leftover": Remedy.MOVE,
    "link": Remedy.MOVE,
    "link-outside": Remedy.MOVE,
    "mode": Remedy.MODE,
    "unreadable": Remedy.NONE,
    "missing-log": Remedy.NONE,
    "broken-log": Remedy.NONE,
    "foreign-log": Remedy.MOVE,
    "missing-page": Remedy.REWRITE,
    "wrong-page": Remedy.REWRITE,
    "foreign-page": Remedy.REWRITE,
    "missing-alias": Remedy.REWRITE,
    "wrong-alias": Remedy.REWRITE,
    "dangling-alias": Remedy.MOVE,
    "wrong-queue": Remedy.DERIVED,
    "wrong-published": Remedy.DERIVED,
    "wrong-counter": Remedy.DERIVED,
    "wrong-requirement": Remedy.DERIVED,
    "late-rewrite": Remedy.REWRITE,
    "orphan": Remedy.NONE,
    "contradiction": Remedy.NONE,
}


class Finding(NamedTuple):
    """A difference between the site, or derived data, and the database.

    *path* is relative to the site (or the key of a row); it belongs to *package* and *version*,
    which are ``""`` if there is none.
    """

    kind: str
    path: str
    why: str
    package: str = ""
    version: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """The identity of the finding across two checks."""
        return self.kind, self.path, self.package

    @property
    def remedy(self) -> Remedy:
        """The remedy for this kind."""
        return KINDS[self.kind]

    def line(self) -> str:
        """Return the finding as a line for people."""
        row = "/" not in self.path  # a row of the database: its key needs the package
        what = f"{self.package} {self.path}".strip() if row else self.path
        return f"{self.kind} {shown(what)}: {shown(self.why)}"

    def json(self) -> str:
        """Return the finding as a line of JSON. Bytes that are not UTF-8 become lone surrogates."""
        return json.dumps({key: value for key, value in self._asdict().items() if value})


def shown(text: str) -> str:
    """Return *text* for a line on a terminal, with unprintable characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
