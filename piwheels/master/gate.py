"""The gate: who is admitted to the addresses for other machines, and who has sent a message.

libzmq asks TheGatekeeper about each new connection. All tasks share the gate, because each message
is checked once more: its key may have been revoked since then. Who listens (:mod:`.relay`) cuts the
connections of such a key.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import BadMessage, Refused
from piwheels.core.keys.ring import Ring, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from piwheels.core.clock import Clock
    from piwheels.core.keys.files import KeyPair


class Guard(StrEnum):
    """Who is admitted at an address."""

    NONE = "none"  #: everybody who can reach it
    KEYS = "keys"  #: the holders of enrolled keys
    ADDRESSES = "addresses"  #: slaves with an address of --allow-from


#: How the name of a slave without a key begins; its address follows. No holder's has a space.
KEYLESS: Final = "address "


#: The roles for operators' commands; everything else is for viewers, too.
NEEDED: Final[Mapping[str, Role]] = {
    "KILL": Role.OPERATE, "SLEEP": Role.OPERATE, "SKIP": Role.OPERATE, "WAKE": Role.OPERATE,
    "RETRY": Role.OPERATE, "FIRST": Role.OPERATE, "QUIT": Role.ADMINISTER,
}  # fmt: skip


class Sender(NamedTuple):
    """The sender of a message: the *name* and the *role* of the holder of its key.

    A local program has no name.
    """

    name: str = ""
    role: Role = Role.ADMINISTER

    def check(self, command: str) -> None:
        """Raise ``Refused`` if the sender may not give a *command* of operators."""
        needed = NEEDED.get(command, Role.VIEW)
        if not self.role.includes(needed):
            raise Refused(
                "ROLE", f"the role of {self.name} is {self.role}: {command} needs {needed}"
            )

    def called(self, who: str) -> str:
        """Return the name of an operator who calls himself *who*."""
        return f"{self.name} ({who})"[:200] if self.name else who


#: A program that may open the private sockets of this user, or anyone if there are no keys.
LOCAL: Final = Sender()


class Entrance(Protocol):
    """A wire of the table: its name, and the roles that are admitted over the network."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of keys that it is for."""


class Gate:
    """Decides who is admitted. Any thread may use it.

    *pair* is the master's own key pair; *networks* are those from which slaves need no key, and
    *keyless* is the role that they have.
    """

    def __init__(
        self,
        pair: KeyPair | None = None,
        networks: Iterable[str] = (),
        clock: Clock = SYSTEM,
        keyless: Role = Role.SLAVE,
    ) -> None:
        self.secret = pair.secret if pair is not None else ""
        self.ring = Ring()
        #: When and from where each key was last seen.
        self.seen: dict[str, tuple[datetime, str]] = {}
        self._keyless = keyless
        self._networks = [ipaddress.ip_network(each) for each in networks]
        self._clock = clock

    def check(self, wire: Entrance, user: str) -> Sender:
        """Return who *user* of *wire* is. Raises ``Refused`` if it is not admitted."""
        if user.startswith(KEYLESS):
            return self.check_address(wire, user.removeprefix(KEYLESS))
        key = self.ring.holder(user, self._clock.now())
        if not any(key.role.includes(role) for role in wire.roles):
            raise Refused("ROLE", f"the role of {key.name}, {key.role}, is not for {wire.name}")
        return Sender(key.name, key.role)

    def check_address(self, wire: Entrance, address: str) -> Sender:
        """Return the slave without a key at *address*. Raises ``Refused``."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            raise Refused("ADDRESS", f"{address} is not an IP address") from None
        found = getattr(found, "ipv4_mapped", None) or found
        if Role.SLAVE not in wire.roles or not any(found in each for each in self._networks):
            raise Refused("ADDRESS", f"{found} may not connect without a key (--allow-from)")
        return Sender(f"{KEYLESS}{found}", self._keyless)

    def is_valid(self, name: str) -> bool:
        """Return whether the holder *name* has a valid key, or needs none."""
        needs_none = not name or name.startswith(KEYLESS)
        return needs_none or self.ring.has_valid(name, self._clock.now())

    def sender(self, wire: Entrance, user: str | None, place: str) -> Sender:
        """Return the sender of a message that came over *wire* from *place*.

        *user* is who the connection was admitted for; ``None``: everybody is. Raises
        ``BadMessage``.
        """
        if user is None:
            return LOCAL
        try:
            sender = self.check(wire, user)
        except Refused as exc:
            raise BadMessage(str(exc)) from exc
        if not user.startswith(KEYLESS):
            self.seen[user] = self._clock.now(), place
        return sender
