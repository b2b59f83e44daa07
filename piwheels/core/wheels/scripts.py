"""The scripts that a wheel has pip make: its ``entry_points.txt``. Pure.

The rules are stricter than those of any pip, because pip, distlib and the interpreters differ.
"""

from __future__ import annotations

import re
from typing import Final

from piwheels.core.errors import BadWheel

#: The groups of entry points that become scripts.
_GROUPS: Final = ("console_scripts", "gui_scripts")
_NAME: Final = re.compile(r"(?!\.{1,2}$)[^\s/\\\[=][^\s/\\=]{0,59}")
_EXTRAS: Final = r"\[\s*[\w-]+(?:,\s*\w+)*\s*\]"
_TARGET: Final = re.compile(rf"\w+(?:\.\w+)*:\w+(?:\.\w+)*\s*(?:{_EXTRAS})?")


def check_scripts(data: bytes) -> None:
    """Check the content of an ``entry_points.txt``. Raises ``BadWheel`` with the reason of pip."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise BadWheel(f"pip refuses entry_points.txt: {error}") from error
    group = None
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line.strip("[]").strip()
            continue
        name, equals, target = (part.strip() for part in line.partition("="))
        if group is None:
            continue  # pip ignores what is before the first group
        if not equals:
            raise BadWheel(f"pip refuses entry_points.txt: {line[:200]!r} has no '='")
        if group in _GROUPS and not _NAME.fullmatch(name):
            raise BadWheel(f"pip refuses the script {name[:200]!r}: it is no plain file name")
        if group in _GROUPS and not _TARGET.fullmatch(target):
            raise BadWheel(
                f"pip refuses the script {name!r}: {target[:200]!r} is no callable (MODULE:NAME)"
            )
