"""Which wheels serve a target, because its installers accept them (PEP 425). Pure.

``_file_tags`` and ``_accepted_tags`` in ``sql/functions`` are equal to the functions here.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from piwheels.core.targets import Target, family
from piwheels.core.wheels.tags import accepted_tags

if TYPE_CHECKING:
    from piwheels.core.wheels.tags import WheelName


def serves(name: WheelName, target: Target) -> bool:
    """Return whether installers for *target* accept the wheel *name*."""
    pythons, abis, platforms = (part.lower().split(".") for part in name[3:])
    families = set(map(family, platforms))
    if families != {"any"}:
        families.add("native")
    accepted = accepted_by(target)
    return any("-".join(tag) in accepted for tag in product(pythons, abis, families))


@lru_cache(maxsize=1024)
def accepted_by(target: Target) -> frozenset[str]:
    """Return the tags that installers for *target* accept, with platform families.

    If its platform is ``any``, it accepts ``native``: the platform of any machine.
    """
    tags = accepted_tags(target.abi)
    if target.platform == "any":
        return tags
    return frozenset(
        f"{tag.removesuffix('native')}{target.platform}" if tag.endswith("-native") else tag
        for tag in tags
    )
