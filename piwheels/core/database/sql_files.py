"""The location of the SQL files, and the version of the schema that they make.

In a checkout, the folder is ``sql/`` next to the package; in an installation, ``piwheels/sql``.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from piwheels.core.errors import Fatal

#: Follows the version of a schema while an import into it is in progress.
IMPORTING: Final = " importing"


@cache
def folder() -> Path:
    """Return the folder of the SQL files. Raises :exc:`Fatal` if it is missing."""
    package = Path(__file__).resolve().parents[2]
    for path in (package / "sql", package.parent / "sql"):
        if (path / "migrations").is_dir():
            return path
    raise Fatal(
        f"the SQL files of piwheels are missing (looked in {package}/sql): install it again"
    )


def migrations() -> dict[str, Path]:
    """Return the migrations by number (``"0001"``), in the order of their application."""
    return {path.name[:4]: path for path in sorted((folder() / "migrations").glob("[0-9]*.sql"))}


def routines() -> list[Path]:
    """Return the files that each upgrade runs again: functions, views, settings of functions."""
    folders = folder() / "functions", folder() / "views"
    files = [path for each in folders for path in sorted(each.glob("*.sql"))]
    return [*files, folder() / "settings.sql"]


def peer_script(name: str) -> str:
    """Return the SQL of the step *name* of an import (``piw-initdb --from-peer``)."""
    return (folder() / "peer" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def version() -> str:
    """Return the version of the schema that this program needs.

    It is the number of the last migration and a digest of :func:`routines`, such as
    ``"0001+1a2b3c4d"``, so that a program never calls functions of another version.
    """
    digest = sha256()
    for path in routines():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{list(migrations())[-1]}+{digest.hexdigest()[:8]}"
