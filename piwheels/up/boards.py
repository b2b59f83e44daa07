"""Other machines in the farm: its keys, and the command with which a board joins."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Refused
from piwheels.core.keys.files import INVITATION, KeyFolder, new_pair, read_pair, write_pair
from piwheels.core.keys.ring import Enrolled, Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from piwheels.core.clock import Clock
    from piwheels.core.keys.files import KeyPair

#: The names of the keys of piw-up itself and of its own slaves, and what they may do.
OWN, SLAVES = "piw-up", "this-machine"
_ROLES: Final = {OWN: Role.ADMINISTER, SLAVES: Role.SLAVE}
#: The default addresses of the farm for other machines.
PORTS: Final = {"slave": 5555, "file": 5556}


class Boards:
    """The keys of the farm in the folder *home*."""

    def __init__(self, home: Path, clock: Clock = SYSTEM) -> None:
        self.folder = KeyFolder(home / "keys")
        self._clock = clock

    def file(self, name: str) -> Path:
        """Return the file of the key *name*."""
        return self.folder.path / f"{name}.key"

    def pair(self, name: str) -> KeyPair:
        """Return the key pair *name*, :data:`OWN` or :data:`SLAVES`. Raises ``Fatal``."""
        path, now = self.file(name), self._clock.now()
        if not path.exists():
            write_pair(path, new_pair(self.folder.pair().public))
        pair = read_pair(path)
        if pair.public not in self.folder.ring().keys:
            own = Enrolled(_ROLES[name], name, pair.public, now)
            with suppress(Refused):  # an administrator has another key with this name
                self.folder.change(lambda ring: ring.enrol(own, now))
        return pair

    def unpin(self) -> None:
        """Let the slaves of this machine greet with other platforms than in the last run."""
        with suppress(Refused):  # they have no key yet
            self.folder.change(lambda ring: ring.move(SLAVES, ()))

    def has_joined(self) -> bool:
        """Return whether another board may build. Raises ``Fatal``."""
        now = self._clock.now()
        boards = [
            key for key in self.folder.ring().keys.values()
            if key.role is Role.SLAVE and key.name != SLAVES
        ]  # fmt: skip
        return any(not key.why_invalid(now) for key in boards)

    def invite(self, queues: Mapping[str, str]) -> str:
        """Return the command with which one board joins the farm. Raises ``Fatal``."""
        now = self._clock.now()
        names = {key.name for key in self.folder.ring().keys.values()}
        number = 1
        while (name := f"board{number}") in names:
            number += 1
        _, text = self.folder.invite(name, now + INVITATION, now)
        words = ["piw-slave", "--master", own_address()]
        for wire, usual in PORTS.items():
            port = queues[wire].rpartition(":")[2]
            if port != str(usual):
                words += [f"--{wire}-queue", f"tcp://{own_address()}:{port}"]
        return " ".join([*words, "--join", text])


def own_address() -> str:
    """Return the address of this machine in its network, or its name. Sends nothing."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return socket.gethostname()
