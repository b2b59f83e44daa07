"""Recipes: the settings with which a build works that fails without them. Pure.

A recipe is data. The farm makes them from diagnoses, operators write them (``piw-recipe``), and
both are stored and shared in the same form.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

from piwheels.core import codec
from piwheels.core.schema import Limit, schema_of
from piwheels.core.words import duration_text, size_text

#: One word of a recipe: a requirement (PEP 508), a package of Debian, an option of pip, a host.
Word = Annotated[str, Limit("text", 200)]

#: The options of pip that a recipe may have; those that end with ``=`` take a value.
OPTIONS: Final = (
    "--config-settings=", "--no-binary=", "--only-binary=", "--pre", "--prefer-binary",
)  # fmt: skip
#: The variables that no recipe sets, as patterns: a build, or what runs it, would break.
_FORBIDDEN: Final = re.compile(
    r"(?:PIP|PIW|LD|GLIBC|SSL|XDG)_.*|.*_PROXY|.*_CA_BUNDLE|GCONV_PATH|LOCPATH|BASH_ENV|ENV|IFS"
    r"|PATH|HOME|SHELL|TMPDIR|LANG|LC_.*|PYTHON(?:HOME|PATH|STARTUP|UNBUFFERED)",
    re.IGNORECASE,
)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PACKAGE: Final = re.compile(r"[a-z0-9][a-z0-9+.-]+")
#: A name, not an address: no recipe opens the network of a slave. The last label has a letter.
_HOST: Final = re.compile(
    r"(?:[a-z0-9_-]{1,63}\.){1,20}(?=[a-z0-9-]*[a-z])[a-z0-9-]{2,63}(?::[1-9][0-9]{0,4})?",
    re.ASCII | re.IGNORECASE,
)


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
    def words(self) -> list[str]:
        """What it changes, for people: a sentence for each field that it uses."""
        settings = (f"{name}={text}" for name, text in self.environment.items())
        texts = {
            "constraints": f"the build requires {_listed(self.constraints)}",
            "requires": f"the build also requires {_listed(self.requires)}",
            "before": f"the build requires nothing uploaded after {_moment(self.before)}",
            "environment": f"with the environment {_listed(settings)}",
            "apt": f"with the Debian packages {_listed(self.apt)}",
            "options": f"with the options {_listed(self.options)} of pip",
            "hosts": f"the build may reach {_listed(self.hosts)}",
            "timeout": f"the build may take {duration_text(self.timeout or timedelta())}",
            "memory": f"the build may use {size_text(self.memory)} of memory",
        }
        return [text for name, text in texts.items() if name in self.features]

    @property
    def faults(self) -> list[str]:
        """Why no slave carries it out: a sentence for each, which begins with the field."""
        return [
            f"{field}: {why}"
            for field, check in _CHECKS.items()
            for word in getattr(self, field)
            if (why := check(word))
        ]

    @property
    def key(self) -> str:
        """The SHA-256 of its content, in hexadecimal: equal recipes have the same."""
        return hashlib.sha256(codec.dumps(schema_of(Recipe).pack(self))).hexdigest()


#: The recipe that changes nothing.
PLAIN = Recipe()


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _constraint_fault(text: str) -> str:
    found = _requirement(text)
    if found is None or found.url or found.extras or found.marker or not found.specifier:
        return f"{text!r} is not a name with limits of its version, like cython<3"
    return ""


def _requirement_fault(text: str) -> str:
    found = _requirement(text)
    if found is None:
        return f"{text!r} is not a requirement (PEP 508)"
    return f"{text!r} names an address" if found.url else ""


def _variable_fault(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        return f"{name!r} is not the name of a variable"
    return f"a recipe cannot set {name}" if _FORBIDDEN.fullmatch(name) else ""


def _package_fault(text: str) -> str:
    return "" if _PACKAGE.fullmatch(text) else f"{text!r} is not the name of a package of Debian"


def _option_fault(text: str) -> str:
    name, equals, value = text.partition("=")
    is_known = name + equals in OPTIONS and bool(equals) is bool(value)
    return "" if is_known else f"{text!r} is none of {_listed(OPTIONS)}"


def _host_fault(text: str) -> str:
    if _HOST.fullmatch(text):
        return ""
    return f"{text!r} is not HOST or HOST:PORT, with the name of a public host"


#: What is wrong with one word of a field; ``""``: nothing. Of a map, these are its keys.
_CHECKS: Final = {
    "constraints": _constraint_fault,
    "requires": _requirement_fault,
    "environment": _variable_fault,
    "apt": _package_fault,
    "options": _option_fault,
    "hosts": _host_fault,
}
