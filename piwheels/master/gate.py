"""The gate: who is admitted to the addresses for other machines, and who has sent a message.

libzmq asks TheGatekeeper about each new connection. All tasks share the gate, because each message
is checked once more: its key may have been revoked since then. A connection of such a key is cut.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import BadMessage, Refused
from piwheels.core.keys.ring import Ring, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from piwheels.core.clock import Clock
    from piwheels.core.keys.files import KeyPair
    from piwheels.core.transport import Origin

#: How the name of a slave without a key begins; its address follows. No holder's has a space.
KEYLESS: Final = "address "


#: The roles for operators' commands; everything else is for viewers, too.
NEEDED: Final[Mapping[str, Role]] = {
    "KILL": Role.OPERATE, "SLEEP": Role.OPERATE, "SKIP": Role.OPERATE, "WAKE": Role.OPERATE,
    "QUIT": Role.ADMINISTER,
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

    *pair* is the master's own key pair; *networks* are those from which slaves need no key.
    """

    def __init__(
        self, pair: KeyPair | None = None, networks: Iterable[str] = (), clock: Clock = SYSTEM
    ) -> None:
        self.secret = pair.secret if pair is not None else ""
        self.ring = Ring()
        #: When and from where each key was last seen.
        self.seen: dict[str, tuple[datetime, str]] = {}
        self._networks = [ipaddress.ip_network(each) for each in networks]
        self._clock = clock
        #: The wire and the user of each connection, by its descriptor; the ports that we listen on.
        self._users: dict[int, tuple[Entrance, str]] = {}
        self.ports: set[int] = set()

    def check(self, wire: Entrance, user: str) -> Sender:
        """Return who *user* of *wire* is. Raises ``Refused`` if it is not admitted."""
        if user.startswith(KEYLESS):
            return self._keyless(wire, user.removeprefix(KEYLESS))
        key = self.ring.holder(user, self._clock.now())
        if not any(key.role.includes(role) for role in wire.roles):
            raise Refused("ROLE", f"the role of {key.name}, {key.role}, is not for {wire.name}")
        return Sender(key.name, key.role)

    def _keyless(self, wire: Entrance, address: str) -> Sender:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            raise Refused("ADDRESS", f"{address} is not an IP address") from None
        found = getattr(found, "ipv4_mapped", None) or found
        if Role.SLAVE not in wire.roles or not any(found in each for each in self._networks):
            raise Refused("ADDRESS", f"{found} may not connect without a key (--allow-from)")
        return Sender(f"{KEYLESS}{found}", Role.SLAVE)

    def is_valid(self, name: str) -> bool:
        """Return whether the holder *name* has a valid key, or needs none."""
        needs_none = not name or name.startswith(KEYLESS)
        return needs_none or self.ring.has_valid(name, self._clock.now())

    def sender(self, wire: Entrance, origin: Origin) -> Sender:
        """Return the sender of a message that came over *wire*. Raises ``BadMessage``."""
        if origin.user is None:
            # 0MQ describes the process at the other end of a local connection, never an address.
            if origin.address is None or origin.address.startswith("localhost:"):
                return LOCAL
            raise BadMessage(f"nobody has admitted {origin.address}")
        if origin.descriptor is not None:
            self._users[origin.descriptor] = wire, origin.user
        try:
            sender = self.check(wire, origin.user)
        except Refused as exc:
            raise BadMessage(str(exc)) from exc
        if not origin.user.startswith(KEYLESS):
            self.seen[origin.user] = self._clock.now(), origin.address or ""
        return sender

    def cut(self) -> list[str]:
        """Cut the connections of users that are not admitted any more; return why, for each."""
        reasons = []
        for descriptor, (wire, user) in list(self._users.items()):
            try:
                self.check(wire, user)
            except Refused as exc:
                self._users.pop(descriptor, None)
                self._shut(descriptor)
                reasons.append(str(exc))
        return reasons

    def _shut(self, descriptor: int) -> None:
        """End the connection *descriptor*, which belongs to 0MQ.

        0MQ may have closed it already, and another file may have its number: that is left alone,
        unless it is a connection to one of our ports. Then its program connects again.
        """
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
            name: Any = connection.getsockname()
            if connection.family != socket.AF_UNIX and name[1] in self.ports:
                connection.shutdown(socket.SHUT_RDWR)
