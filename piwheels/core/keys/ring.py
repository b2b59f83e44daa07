"""The key ring: the enrolled keys of a farm, and what the holder of each may do. Pure.

The file has one line for each key::

    ROLE NAME KEY since=TIME [until=TIME] [revoked=TIME] [platform=TAG,...]

A line that is not understood, and each further line with the same key, admits nobody and changes
nothing for others.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

#: A public or a secret key as text (Z85, ZeroMQ RFC 32), and the name of its holder.
KEY: Final = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}", re.ASCII)
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
#: A platform: a system and a machine.
PLATFORM: Final = re.compile(r"(?!x86_)[a-z0-9]{1,20}(?:_[a-z0-9]{1,20}){1,4}", re.ASCII)
_TIMES: Final = ("since", "until", "revoked")
_HEADER: Final = "# The enrolled keys of a piwheels farm. Change them with piw-keys."


class Role(StrEnum):
    """What the holder of a key may do."""

    SLAVE = "slave"  #: build
    VIEW = "view"  #: see the state of the farm
    OPERATE = "operate"  #: the same, and command slaves and the queue
    ADMINISTER = "administer"  #: the same, stop the master, and use the admin tools
    LOG = "log"  #: send the access log
    JOIN = "join"  #: enrol another key, once: an invitation

    def includes(self, other: Role) -> bool:
        """Return whether this role may do whatever *other* may."""
        if self in _OPERATORS and other in _OPERATORS:
            return _OPERATORS.index(self) >= _OPERATORS.index(other)
        return self is other


_OPERATORS: Final = (Role.VIEW, Role.OPERATE, Role.ADMINISTER)


class Enrolled(NamedTuple):
    """An enrolled key; *until* and *revoked* are ``None`` if there is no such time.

    *platforms* are those that a slave with this key may build for; if there are none, that of its
    next greeting becomes the only one.
    """

    role: Role
    name: str
    public: str
    since: datetime
    until: datetime | None = None
    revoked: datetime | None = None
    platforms: tuple[str, ...] = ()

    def why_invalid(self, now: datetime) -> str:
        """Return why the key is not valid; ``""``: it is."""
        if self.revoked is not None:
            return f"the key of {self.name} was revoked on {self.revoked:%Y-%m-%d}"
        if self.until is not None and self.until <= now:
            return f"the key of {self.name} has expired on {self.until:%Y-%m-%d}"
        return ""

    def why_not_for(self, *platforms: str) -> str:
        """Return why a slave with this key may not build for *platforms*; ``""``: it may."""
        others = [each for each in platforms if each not in self.platforms]
        if not self.platforms or not others:
            return ""
        known = " and ".join(self.platforms)
        wanted = " ".join(f"--platform {each}" for each in platforms)
        return (
            f"the key of {self.name} is for {known}, not for {' and '.join(others)}: if that is"
            f" right, run piw-keys platform {self.name} {wanted} on the master"
        )

    def __str__(self) -> str:
        times = {name: getattr(self, name) for name in _TIMES}
        words = [f"{name}={_time_text(when)}" for name, when in times.items() if when is not None]
        words += [f"platform={','.join(self.platforms)}"] if self.platforms else []
        return " ".join([self.role, self.name, self.public, *words])


@dataclass(frozen=True)
class Ring:
    """The enrolled keys: the lines of the file, those that are not understood as text."""

    lines: tuple[Enrolled | str, ...] = (_HEADER,)
    problems: tuple[str, ...] = ()
    #: The keys by their public part, and by the name of their holder.
    keys: dict[str, Enrolled] = field(init=False, repr=False, compare=False)
    named: dict[str, list[Enrolled]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = [line for line in self.lines if isinstance(line, Enrolled)]
        named: dict[str, list[Enrolled]] = {}
        for key in found:
            named.setdefault(key.name, []).append(key)
        object.__setattr__(self, "keys", {key.public: key for key in found})
        object.__setattr__(self, "named", named)

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def of(self, who: str) -> list[Enrolled]:
        """Return the keys with *who* as name, public part or fingerprint."""
        return [
            key for key in self.keys.values() if who in (key.name, key.public, fingerprint(key))
        ]

    def has_valid(self, name: str, now: datetime) -> bool:
        """Return whether the holder *name* has a valid key."""
        return any(not key.why_invalid(now) for key in self.named.get(name, ()))

    def holder(self, public: str, now: datetime) -> Enrolled:
        """Return the valid key *public*. Raises ``Refused`` with the reason if it is not valid."""
        key = self.keys.get(public)
        if key is None:
            raise Refused("KEY", f"a key that is not enrolled ({fingerprint(public)})")
        if why := key.why_invalid(now):
            raise Refused("KEY", why)
        return key

    # Changes ----------------------------------------------------------------------------------

    def enrol(self, new: Enrolled, now: datetime) -> Ring:
        """Return the ring with the key *new*. Raises ``Refused``."""
        if new.public in str(self):
            raise Refused("ENROLLED", f"the key {fingerprint(new)} is in the ring already")
        if self.has_valid(new.name, now):
            raise Refused(
                "ENROLLED",
                f"{new.name} has a valid key already: choose another name, or use piw-keys rotate",
            )
        return Ring((*self.lines, new))

    def revoke(self, who: str, now: datetime) -> tuple[Ring, list[Enrolled]]:
        """Return the ring without the keys of *who*, and these keys. Raises ``Refused``."""
        keys = [key for key in self._known(who) if key.revoked is None]
        if not keys:
            raise Refused("REVOKED", f"the keys of {who} are revoked already")
        return self._changed(keys, lambda key: key._replace(revoked=now)), keys

    def rotate(self, name: str, public: str, now: datetime, overlap: timedelta) -> Ring:
        """Return the ring with a new key of *name*; its valid keys end after *overlap*.

        Raises ``Refused``.
        """
        old = [key for key in self._known(name) if not key.why_invalid(now)]
        if not old:
            raise Refused("INVALID", f"{name} has no valid key: use piw-keys enrol")
        end = now + overlap
        ended = self._changed(old, lambda key: key._replace(until=min(key.until or end, end)))
        new = Enrolled(old[-1].role, old[-1].name, public, now, platforms=old[-1].platforms)
        if public in str(self):
            raise Refused("ENROLLED", f"the key {fingerprint(new)} is in the ring already")
        return Ring((*ended.lines, new))

    def invite(self, new: Enrolled, now: datetime) -> Ring:
        """Return the ring with the invitation *new*, and without those that have expired.

        Raises ``Refused``.
        """
        lines = (
            line for line in self.lines
            if not (isinstance(line, Enrolled) and line.role is Role.JOIN and line.why_invalid(now))
        )  # fmt: skip
        return Ring(tuple(lines)).enrol(new, now)

    def redeem(self, invitation: str, public: str, now: datetime) -> Ring:
        """Return the ring in which a slave's key *public* takes the place of its *invitation*.

        Raises ``Refused``: an invitation is valid once.
        """
        current = self.holder(invitation, now)
        if current.role is not Role.JOIN:
            raise Refused("KEY", "this key is not an invitation")
        without = Ring(tuple(line for line in self.lines if line != current))
        new = Enrolled(Role.SLAVE, current.name, public, now, platforms=current.platforms)
        return without.enrol(new, now)

    def move(self, name: str, platforms: tuple[str, ...]) -> Ring:
        """Return the ring in which the keys of the slave *name* are for *platforms*.

        Raises ``Refused``.
        """
        keys = self._known(name)
        if not all(key.role in (Role.SLAVE, Role.JOIN) for key in keys):
            raise Refused("ROLE", f"{name} is no slave: only slaves have platforms")
        return self._changed(keys, lambda key: key._replace(platforms=platforms))

    def pin(self, public: str, platforms: Iterable[str], now: datetime) -> Ring:
        """Return the ring in which the slave's key *public* is for *platforms*, its first ones.

        Raises ``Refused``.
        """
        key, platforms = self.holder(public, now), tuple(platforms)
        for platform in platforms:
            if not PLATFORM.fullmatch(platform):
                raise Refused("PLATFORM", f"{platform[:80]!r} is not a platform")
        if why := key.why_not_for(*platforms):
            raise Refused("PLATFORM", why)
        return self._changed([key], lambda key: key._replace(platforms=platforms))

    def _known(self, who: str) -> list[Enrolled]:
        if not (keys := self.of(who)):
            raise Refused("UNKNOWN", f"no key is enrolled for {who}: piw-keys list names all")
        return keys

    def _changed(self, keys: Iterable[Enrolled], change: Callable[[Enrolled], Enrolled]) -> Ring:
        changed = {key.public for key in keys}
        return Ring(
            tuple(
                change(line) if isinstance(line, Enrolled) and line.public in changed else line
                for line in self.lines
            )
        )


def fingerprint(key: str | Enrolled) -> str:
    """Return the short name of a public key: four groups of four hexadecimal digits."""
    public = key.public if isinstance(key, Enrolled) else key
    digest = hashlib.sha256(public.encode()).hexdigest()
    return "-".join(digest[at : at + 4] for at in range(0, 16, 4))


def parse_ring(text: str) -> Ring:
    """Return the ring that a file with *text* describes."""
    lines: list[Enrolled | str] = []
    problems = []
    # One key on two lines is ambiguous: one may be its revocation.
    times = Counter(word for line in text.split("\n") for word in line.split()[2:3])
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        words = line.split()
        if not words or line.startswith("#"):
            lines.append(line)
            continue
        try:
            lines.append(_enrolled(words, times))
        except ValueError as exc:
            lines.append(line)
            problems.append(f"line {number} is ignored: {exc}")
    return Ring(tuple(lines), tuple(problems))


def _enrolled(words: list[str], times: Counter[str]) -> Enrolled:
    if len(words) < 4:
        raise ValueError("it has no role, name, key and time")
    role, name, public, *options = words
    if role not in list(Role):
        raise ValueError(f"{role[:40]!r} is not a role ({', '.join(Role)})")
    if not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not a name")
    if not KEY.fullmatch(public):
        raise ValueError("it has no valid key")
    if times[public] > 1:
        raise ValueError(f"the key {fingerprint(public)} is on several lines")
    found: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key in found or key not in (*_TIMES, "platform"):
            raise ValueError(f"{option[:80]!r} is not one of {', '.join(_TIMES)}, platform")
        found[key] = _platforms(value) if key == "platform" else _time(value)
    platforms = found.pop("platform", ())
    if "since" not in found:
        raise ValueError("it has no time of enrolment (since=)")
    return Enrolled(Role(role), name, public, **found, platforms=platforms)


def _platforms(text: str) -> tuple[str, ...]:
    return tuple(map(platform_tag, text.split(",")))


def platform_tag(text: str) -> str:
    """Return the platform *text* as tags spell it. Raises ``ValueError`` if it is none."""
    tag = re.sub("[-.]", "_", text.lower())
    if not PLATFORM.fullmatch(tag):
        raise ValueError(f"{text[:80]!r} is not a platform, such as linux_aarch64")
    return tag


def _time(text: str) -> datetime:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is not a time, such as 2026-01-31T12:00:00Z")
    return datetime.fromisoformat(text)


def _time_text(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
