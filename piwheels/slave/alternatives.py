"""Links that the scripts of Debian's packages would make by ``update-alternatives``.

The scripts do not run. They are read for these commands, in the form that nearly all of them have;
others are ignored.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from piwheels.core.host.commands import ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SECONDS: Final = 60.0
_COMMAND: Final = re.compile(r"^\s*update-alternatives\s(.*)$", re.M)
_ASSIGNMENT: Final = re.compile(r"^\s*([A-Za-z_]\w{0,40})=([!#-&(-:<-~]{1,200})$", re.M)
_VARIABLE: Final = re.compile(r"\$(?:\{(\w{1,40})\}|(\w{1,40}))")
_FIRST: Final = re.compile(r"--install\s+(/usr/\S+)\s+\S+\s+(/usr/\S+)\s+([0-9]{1,9})(?=\s|$)")
_FURTHER: Final = re.compile(r"--slave\s+(/usr/\S+)\s+\S+\s+(/usr/\S+)")


def links(script: str) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Yield the groups of links of a *script*, each with its priority: a link, and its target."""
    script = script.replace("\\\n", " ")
    values = dict(_ASSIGNMENT.findall(script))
    script = _VARIABLE.sub(lambda match: values.get(match[1] or match[2], match[0]), script)
    for command in _COMMAND.findall(script):
        if first := _FIRST.search(command):
            pairs = [(first[1], first[2]), *_FURTHER.findall(command)]
            yield int(first[3]), [pair for pair in pairs if "$" not in "".join(pair)]


def link_alternatives(archives: Iterable[Path], layer: Path) -> None:
    """Make the links of the packages *archives* in *layer*, which has their files.

    The one of the highest priority wins, unless this machine has that link.
    """
    groups = [group for path in archives for group in links(_script(path))]
    for _, pairs in sorted(groups, key=lambda group: -group[0]):
        for link, target in pairs:
            place, real = layer / link[1:], layer / target[1:]
            exists = os.path.lexists(place) or os.path.lexists(link)
            if real.exists() and not exists:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(os.path.relpath(real, place.parent))


def _script(archive: Path) -> str:
    """Return the script that would run after the installation of *archive*; ``""``: it has none."""
    return ask(["dpkg-deb", "--info", archive, "postinst"], _SECONDS).stdout
