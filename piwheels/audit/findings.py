"""What an audit can find, and what mends it."""

from __future__ import annotations

import json
from enum import Enum
from typing import Final, NamedTuple


class Remedy(Enum):
    """How a finding is mended, worded as what to do about it."""

    BUILD = "build it again"
    REWRITE = "write the pages again"
    METADATA = "take the .metadata out of the wheel again"
    MODE = "let everybody read it"
    MOVE = "move it out of the site"
    KEPT = "compute anew what is kept"
    NONE = "look into it: nothing here can mend it"


#: Every kind of finding, and what mends it.
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
    "wrong-queue": Remedy.KEPT,
    "wrong-published": Remedy.KEPT,
    "wrong-counter": Remedy.KEPT,
    "late-rewrite": Remedy.REWRITE,
    "orphan": Remedy.NONE,
    "contradiction": Remedy.NONE,
}


class Finding(NamedTuple):
    """Something that is not as it must be.

    *path* is below the site (or a row's key in the database), *package* and *version* what it
    belongs to, ``""`` where that is nothing.
    """

    kind: str
    path: str
    why: str
    package: str = ""
    version: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two findings the same one."""
        return self.kind, self.path, self.package

    @property
    def remedy(self) -> Remedy:
        """What mends it."""
        return KINDS[self.kind]

    def line(self) -> str:
        """Return it as a line for people."""
        row = "/" not in self.path  # of the database: a version alone says little
        what = f"{self.package} {self.path}".strip() if row else self.path
        return f"{self.kind} {shown(what)}: {shown(self.why)}"

    def json(self) -> str:
        """Return it as a line for programs. Bytes that are no UTF-8 are lone surrogates in it."""
        return json.dumps({key: value for key, value in self._asdict().items() if value})


def shown(text: str) -> str:
    """Return *text* fit for a line on a terminal: what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
