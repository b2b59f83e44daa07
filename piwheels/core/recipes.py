"""Recipes: the settings with which a build works that fails without them. Pure.

A recipe is data. The farm makes them from diagnoses, operators write them (``piw-recipe``), and
both are stored and shared in the same form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from piwheels.core.errors import BadMessage
from piwheels.core.schema import Limit, schema_of
from piwheels.core.words import counted, duration_text, size_text

#: One word of a recipe: a requirement (PEP 508), a package of Debian, an option of pip, a host.
Word = Annotated[str, Limit("text", 200)]
#: The longest duration in a recipe, in seconds.
MAX_PERIOD: Final = 366 * 86400

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
_PACKAGE: Final = re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}", re.ASCII)
#: A name, not an address: no recipe opens the network of a slave. The last label has a letter.
_HOST: Final = re.compile(
    r"(?:[a-z0-9_-]{1,63}\.){1,20}(?=[a-z0-9-]*[a-z])[a-z0-9-]{2,63}(?::[1-9][0-9]{0,4})?",
    re.ASCII | re.IGNORECASE,
)


class Recipe(NamedTuple):
    """How a build differs from others. Empty fields change nothing.

    *constraints* limit the versions of what the build requires, *requires* are further
    requirements of it (both PEP 508). What was uploaded after the time *before*, or later than
    *release_plus* after the build's own source, is hidden from it (its own source is not).
    *environment* are variables, *apt* packages of Debian that only this build sees, *options* those
    of pip, *hosts* places that it may reach (``HOST`` or ``HOST:PORT``). *timeout* and *memory*
    (bytes; 0: as usual) are limits, if they are greater than those of the slave.
    """

    constraints: tuple[Word, ...] = ()
    requires: tuple[Word, ...] = ()
    before: datetime | None = None
    release_plus: timedelta | None = None
    environment: Mapping[Word, Word] = {}
    apt: tuple[Word, ...] = ()
    options: tuple[Word, ...] = ()
    hosts: tuple[Word, ...] = ()
    timeout: timedelta | None = None
    memory: Annotated[int, Limit("count", 2**63 - 1)] = 0

    @property
    def features(self) -> frozenset[str]:
        """The names of the fields that it uses: a slave must be able to carry these out."""
        return frozenset(
            name for name in self._fields if getattr(self, name) != getattr(PLAIN, name)
        )

    @property
    def words(self) -> list[str]:
        """What it says, for people: a phrase for each field that changes something."""
        lists = {
            "constraints": "with {}", "requires": "requires {}, too", "apt": "Debian packages: {}",
            "options": "pip {}", "hosts": "may reach {}",
        }  # fmt: skip
        found = [
            text.format(", ".join(getattr(self, name)))
            for name, text in lists.items()
            if getattr(self, name)
        ]
        if self.before:
            found.append(f"build tools as of {self.before:%Y-%m-%d}")
        if self.release_plus:
            days, rest = divmod(self.release_plus, timedelta(days=1))
            later = duration_text(self.release_plus) if rest else counted(days, "day")
            found.append(f"build tools as of {later} after its release")
        found += [f"{name}={value}" for name, value in sorted(self.environment.items())]
        if self.timeout:
            found.append(f"time-out {duration_text(self.timeout)}")
        if self.memory:
            found.append(f"{size_text(self.memory)} of memory")
        return found

    @property
    def faults(self) -> list[str]:
        """Why no slave carries it out: a sentence for each, which begins with the field."""
        return [
            f"{field}: {why}"
            for field, check in _CHECKS.items()
            for word in getattr(self, field)
            if (why := check(word))
        ]

    def merged(self, other: Recipe) -> Recipe:
        """Return a recipe with the settings of both; those of *other* take precedence."""
        named = {_project(each): each for each in (*self.constraints, *other.constraints)}
        made = {
            name: tuple(dict.fromkeys((*getattr(self, name), *getattr(other, name))))
            for name in ("requires", "apt", "options", "hosts")
        }
        return Recipe(
            **made,
            constraints=tuple(named.values()),
            before=other.before or self.before,
            release_plus=other.release_plus or self.release_plus,
            environment={**self.environment, **other.environment},
            timeout=max(filter(None, (self.timeout, other.timeout)), default=None),
            memory=max(self.memory, other.memory),
        )

    def to_map(self) -> dict[str, Any]:
        """Return its fields that change something, as JSON and TOML have them.

        Times are in ISO 8601, durations in seconds, memory in bytes.
        """
        made: dict[str, Any] = {}
        for name in sorted(self.features):
            value = getattr(self, name)
            match value:
                case tuple():
                    value = list(value)
                case datetime():
                    value = value.isoformat()
                case timedelta():
                    value = value.total_seconds()
            made[name] = value
        return made

    @classmethod
    def from_map(cls, given: Mapping[str, Any]) -> Recipe:
        """Return the recipe that :meth:`to_map` describes.

        Raises :exc:`~piwheels.core.errors.BadMessage` with a sentence.
        """
        if unknown := sorted(set(given) - set(cls._fields)):
            raise BadMessage(f"a recipe has no {unknown[0]!r}: it has {', '.join(cls._fields)}")
        values = dict(given)
        for name, make in (("before", _time), ("release_plus", _period), ("timeout", _period)):
            if name in values:
                values[name] = make(name, values[name])
        checked: Recipe = schema_of(Recipe).validate(cls(**values), "recipe")
        return checked


def to_toml(recipes: Mapping[str, Recipe]) -> str:
    """Return *recipes* by the names of their projects as TOML: a table for each."""
    return "\n".join(
        "".join([f"[{name}]\n", *(f"{key} = {_toml(value)}\n" for key, value in fields.items())])
        for name, fields in ((name, recipe.to_map()) for name, recipe in sorted(recipes.items()))
    )


def recipe_words(content: Mapping[str, Any] | None) -> list[str]:
    """Return the words of a stored recipe; none for ``None``, or one of another version."""
    try:
        return Recipe.from_map(content or {}).words
    except BadMessage:
        return ["a recipe that this version cannot read"]


def _toml(value: Any) -> str:
    """Return a value of :meth:`Recipe.to_map` as TOML. Its texts have no control characters."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case Mapping():
            pairs = (f"{_toml(key)} = {_toml(each)}" for key, each in sorted(value.items()))
            return f"{{{', '.join(pairs)}}}"
    return str(int(value) if value == int(value) else value)


def recipe_phrase(content: Mapping[str, Any] | None) -> str:
    """Return what a stored recipe changes, after a verb: ``with cython<3``; ``""``: nothing."""
    text = "; ".join(recipe_words(content))
    return text if not text or text.startswith("with ") else f"({text})"


def _project(requirement: str) -> str:
    match = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return canonicalize_name(match[1]) if match else requirement


def _time(name: str, value: Any) -> datetime:
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise BadMessage(f"{name}: {value!r:.40} is no time (ISO 8601)") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _period(name: str, value: Any) -> timedelta:
    if type(value) not in (int, float) or not 0 < value <= MAX_PERIOD:
        raise BadMessage(f"{name}: {value!r:.40} is no number of seconds up to {MAX_PERIOD}")
    return timedelta(seconds=value)


#: The recipe that changes nothing.
PLAIN = Recipe()


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


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


def package_fault(text: str) -> str:
    """Return why *text* is not the name of a package of Debian; ``""`` if it is one."""
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
    "apt": package_fault,
    "options": _option_fault,
    "hosts": _host_fault,
}
