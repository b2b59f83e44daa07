"""Recipes: the settings with which a build works that fails without them. Pure.

A recipe is data. The farm makes them from diagnoses, operators write them (``piw-recipe``), and
both are stored and shared in the same form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from piwheels.core import codec
from piwheels.core.schema import Limit, schema_of

#: One word of a recipe: a requirement (PEP 508), a package of Debian, an option of pip, a host.
Word = Annotated[str, Limit("text", 200)]


class Recipe(NamedTuple):
    """How a build differs from others. Empty fields change nothing.

    *constraints* limit the versions of what the build requires, *requires* are further
    requirements of it (both PEP 508), *before* hides what was uploaded later from what it requires
    (its own source is not affected). *environment* are variables, *apt* packages of Debian that
    only this build sees, *options* those of pip, *hosts* places that it may reach (``HOST`` or
    ``HOST:PORT``). *timeout* and *memory* (bytes; 0: as usual) are limits, if they are greater than
    those of the slave.
    """

    constraints: tuple[Word, ...] = ()
    requires: tuple[Word, ...] = ()
    before: datetime | None = None
    environment: Mapping[Word, Word] = {}
    apt: tuple[Word, ...] = ()
    options: tuple[Word, ...] = ()
    hosts: tuple[Word, ...] = ()
    timeout: timedelta | None = None
    memory: Annotated[int, Limit("count", 2**63 - 1)] = 0

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return self != PLAIN

    @property
    def features(self) -> frozenset[str]:
        """The names of the fields that it uses: a slave must be able to carry these out."""
        return frozenset(
            name for name in self._fields if getattr(self, name) != getattr(PLAIN, name)
        )

    @property
    def key(self) -> str:
        """The SHA-256 of its content, in hexadecimal: equal recipes have the same."""
        return hashlib.sha256(codec.dumps(schema_of(Recipe).pack(self))).hexdigest()


#: The recipe that changes nothing.
PLAIN = Recipe()
