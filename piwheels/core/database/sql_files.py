"""The location of the SQL files, and the version of the schema that they make.

The folder is ``sql/`` beside the package in a checkout, and ``piwheels/sql`` in an installed wheel.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

from piwheels.core.errors import Fatal


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
    """Return the files of functions, then of views: each upgrade rebuilds all of them."""
    kinds = folder() / "functions", folder() / "views"
    return [path for kind in kinds for path in sorted(kind.glob("*.sql"))]


@cache
def version() -> str:
    """Return the version of the schema that this program needs.

    It is the number of the last migration and a digest of functions and views, as in
    ``"0001+1a2b3c4d"``, so that a program never uses the functions of another version.
    """
    digest = sha256()
    for path in routines():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{list(migrations())[-1]}+{digest.hexdigest()[:8]}"
