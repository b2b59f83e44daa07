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


def unsupported(egress: Egress) -> dict[str, str]:
    """Return the fields that a slave whose builds reach *egress* cannot carry out, and why."""
    found = {"apt": "it cannot install packages of Debian"}
    if egress.is_open:
        found |= dict.fromkeys(_PROXIED, "it has no proxy (--egress open)")
    if egress.offline:
        found["hosts"] = "its builds are offline (--offline-build)"
    return found


def supported(egress: Egress) -> list[str]:
    """Return the fields that a slave whose builds reach *egress* can carry out."""
    return [name for name in Recipe._fields if name not in unsupported(egress)]


def why_refused(recipe: Recipe, egress: Egress) -> str:
    """Return why this slave cannot carry *recipe* out, with the field; ``""`` if it can."""
    faults = recipe.faults
    faults += (
        f"{name}: {why}" for name, why in unsupported(egress).items() if name in recipe.features
    )
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
