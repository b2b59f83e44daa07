"""Which recipes a slave can carry out, and what pip gets of them. Pure, but for the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement

from piwheels.core.recipes import Recipe
from piwheels.core.wheels.tags import canonical
from piwheels.core.words import size_text
from piwheels.slave.limits import most_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piwheels.slave.egress.gate import Egress

#: The fields that need the proxy, which hides files of the index, and fetches the source.
_PROXIED: Final = ("requires", "before", "release_plus")
#: pip's variables for files of constraints: since pip 25.3, only the second one acts on what builds
#: require; earlier versions know only the first one.
_CONSTRAINTS: Final = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")


def unsupported(egress: Egress, *, has_overlays: bool) -> dict[str, str]:
    """Return the fields that a slave cannot carry out, and why.

    Its builds reach *egress*, and may get packages of Debian if it *has overlays*.
    """
    found = {} if has_overlays else {"apt": "it cannot show packages of Debian to one build"}
    if egress.is_open:
        found |= dict.fromkeys(_PROXIED, "it has no proxy (--egress open)")
    if egress.offline:
        found["hosts"] = "its builds are offline (--offline-build)"
    return found


def supported(egress: Egress, *, has_overlays: bool) -> list[str]:
    """Return the fields that a slave can carry out; the arguments are as in :func:`unsupported`."""
    missing = unsupported(egress, has_overlays=has_overlays)
    return [name for name in Recipe._fields if name not in missing]


def why_refused(recipe: Recipe, egress: Egress, *, has_overlays: bool) -> str:
    """Return why this slave cannot carry *recipe* out, with the field; ``""`` if it can."""
    missing = unsupported(egress, has_overlays=has_overlays)
    faults = recipe.faults
    faults += (f"{name}: {why}" for name, why in missing.items() if name in recipe.features)
    if recipe.memory > most_memory():
        faults.append(f"memory: it has {size_text(most_memory())} for a build")
    return "; ".join(faults)


def constraints(recipe: Recipe, package: str) -> list[str]:
    """Return the lines of a file of constraints for a build of *package*, which has none itself."""
    own = canonical(package)
    return [line for line in recipe.constraints if canonical(Requirement(line).name) != own]


def with_constraints(variables: Mapping[str, str], address: str) -> dict[str, str]:
    """Return the environment *variables* with the file of constraints at *address*, too."""
    more = {name: f"{variables.get(name, '')} {address}".strip() for name in _CONSTRAINTS}
    return {**variables, **more}
