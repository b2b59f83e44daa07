"""The targets that a farm adds because its slaves offer them (``--targets-of-slaves``). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from piwheels.core.targets import NO_SLAVE, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from piwheels.core.database.rows import TargetRow

#: The most targets that a farm gets in this way, all others included: anyone can offer many.
MOST: Final = 100


def to_add(
    rows: Iterable[TargetRow], requested: Collection[Target], offered: Iterable[Target]
) -> list[Target]:
    """Return those of *offered* that a farm with the targets *rows* has to add.

    Those in *requested* are being added. What an operator has retired stays retired: a target, or
    an ABI on all its platforms.
    """
    skips = {Target(row.platform, row.abi_tag): row.skip for row in rows}
    in_use = {target for target, skip in skips.items() if skip in {"", NO_SLAVE}}
    retired = {target.abi for target in skips} - {target.abi for target in in_use}
    room = MOST - len(skips.keys() | set(requested))
    found = []
    for target in dict.fromkeys(offered):
        if target in requested or not _is_valid(target):
            continue
        if skips.get(target) == NO_SLAVE:
            found.append(target)
        elif target not in skips and target.abi not in retired and room > 0:
            found.append(target)
            room -= 1
    return found


def _is_valid(target: Target) -> bool:
    try:
        return Target.parse(str(target)) == target and target.platform != "any"
    except ValueError:
        return False
