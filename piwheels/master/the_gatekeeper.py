"""TheGatekeeper: admits other machines by their keys, or by their addresses.

0MQ asks it about each connection to an address that is guarded (ZAP, ZeroMQ RFC 27). It follows
the changes of the key ring, which other programs make (:mod:`piwheels.keys`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, assert_never

import zmq
from zmq.utils import z85

from piwheels.core.errors import BadMessage, PiWheelsError, Refused
from piwheels.core.keys.files import KeyFolder
from piwheels.core.keys.ring import KEY, Role, fingerprint
from piwheels.core.tasks import NonStopTask
from piwheels.core.transport import Context
from piwheels.core.words import counted
from piwheels.master.gate import KEYLESS, Gate, Guard
from piwheels.master.messages import EnrolSlave, PinPlatforms
from piwheels.master.ports import Ports
from piwheels.master.wiring import WIRES, is_guarded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from piwheels.core.transport import Socket
    from piwheels.master.messages import KeyRequest
    from piwheels.master.ports import Inbox
    from piwheels.master.wiring import MasterConfig

#: Where 0MQ asks; there is one such address in each process.
_ADDRESS: Final = "inproc://zeromq.zap.01"
_VERSION: Final = b"1.0"
#: How many connections are decided before other sockets are served.
BURST: Final = 100
_LOOPBACK: Final = ("127.0.0.0/8", "::1")
_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
#: How often to look for changes of the ring, and for keys that have expired; and how often to store
#: when keys were last seen.
FOLLOW_EVERY, CUT_EVERY, STORE_EVERY = (timedelta(seconds=each) for each in (0.2, 5, 10))


def gate_of(config: MasterConfig) -> Gate | None:
    """Return the gate of a master; ``None`` if everybody is admitted. Raises ``Fatal``."""
    if not is_guarded(config):
        return None
    if config.insecure:
        return Gate(networks=_EVERYWHERE, keyless=Role.ADMINISTER)
    if config.keys is None:
        return Gate(networks=[*config.allow_from, *_LOOPBACK])
    return Gate(KeyFolder(config.keys).pair(), config.allow_from)


class TheGatekeeper(NonStopTask):
    """Decides about connections from other machines. Without keys, it has nothing to do."""

    name = "the_gatekeeper"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self._wires = {wire.name: wire for wire in WIRES}
        self._problems: set[str] = set()
        #: The state of the ring's file when it was last looked at; whether that state was read.
        self._mark: Any = None
        self._is_read = True
        #: The keys that were valid when connections were last cut, with roles, and their holders.
        self._valid: dict[tuple[str, Role], str] = {}
        if config.gate is not None:
            self._gate = config.gate
            asked = Context().socket(zmq.ROUTER, None, self.logger)
            asked.bind(_ADDRESS)
            self.register(asked, self.handle_connection)
        self.ports = Ports("TheGatekeeper", config, self.logger, self)
        self.ports.serve("keys", self.handle_keys)
        if config.gate is not None and config.keys is not None:
            self._folder = KeyFolder(config.keys)
            self._mark = _mark_of(self._folder.ring_file)
            self._read()
            self.every(FOLLOW_EVERY, self.follow)
            self.every(CUT_EVERY, self.cut)
            self.every(STORE_EVERY, self.store)

    def handle_connection(self, queue: Socket) -> None:
        """Answer the questions of 0MQ whether to admit a connection."""
        for _ in range(BURST):
            if not queue.poll(0):
                return
            peer, _, *frames = queue.recv_multipart()
            number = frames[1]
            try:
                user, who = self._decide(frames)
            except Refused as exc:
                answer = [b"400", str(exc).encode(), b""]
                bad = BadMessage(f"a connection to {frames[2].decode()}: {exc}")
                bad.peer = self._holder(frames[6:])
                self.note_bad_message(bad)
            except Exception as exc:  # noqa: BLE001 (one connection never ends the task)
                answer = [b"500", str(self.unexpected("a connection", exc)).encode()[:200], b""]
            else:
                answer = [b"200", b"", user.encode()]
                self.logger.debug("admitted %s to %s", who, frames[2].decode())
            queue.send_multipart([peer, b"", _VERSION, number, *answer, b""])

    def _decide(self, frames: Sequence[bytes]) -> tuple[str, str]:
        """Return the user of the connection that ZAP describes, and its name, or refuse it."""
        domain, _, _, mechanism, *credentials = frames[2:]
        name, _, guard = domain.decode().partition(" ")
        match guard, mechanism, credentials:
            case Guard.KEYS, b"CURVE", [key]:
                user = z85.encode(key).decode()
            case Guard.ADDRESSES, b"NULL", []:
                return KEYLESS, "a slave without a key"  # the relay has checked its address
            case _:
                raise Refused("KEY", "it has no key")
        return user, self._gate.check(self._wires[name], user).name

    def _holder(self, credentials: Sequence[bytes]) -> str:
        """Return the holder of an enrolled key, valid or not; for all other keys ``strangers``."""
        user = z85.encode(credentials[0]).decode() if credentials else ""
        known = self._gate.ring.keys.get(user)
        return "strangers" if known is None else known.name

    def handle_keys(self, queue: Inbox[KeyRequest]) -> None:
        """Enrol the key of a slave that was invited, or pin the platforms of a slave."""
        ticket = queue.recv_ticket()
        request, now = ticket.request, self.clock.now()
        try:
            match request:
                case EnrolSlave(invitation, public):
                    if not KEY.fullmatch(public):
                        raise Refused("KEY", "its own key is not a key")
                    ring = self._folder.change(lambda ring: ring.redeem(invitation, public, now))
                    did = "has joined"
                case PinPlatforms(public, platforms):
                    ring = self._folder.change(lambda ring: ring.pin(public, platforms, now))
                    did = f"builds for {' and '.join(platforms)} from now on"
                case never:
                    assert_never(never)
        except PiWheelsError as exc:
            ticket.refuse(exc)
            return
        self._gate.ring = ring  # an invitation is cut when the answer has been sent
        who = ring.keys[public].name, fingerprint(public)
        self.logger.warning("%s %s, with the key %s", who[0], did, who[1])
        ticket.answer()

    def follow(self) -> None:
        """Read the ring again if it has changed.

        It is read when it has not changed since the last call: an editor may be writing it.
        """
        mark = _mark_of(self._folder.ring_file)
        if mark == self._mark and not self._is_read:
            self._read()
            self.cut()
        self._is_read, self._mark = mark == self._mark, mark

    def cut(self) -> None:
        """Cut the connections of keys that are not valid any more.

        Also those that have not sent a message: it is not known whose they are. They connect again.
        """
        ring, now = self._gate.ring, self.clock.now()
        keys = [key for key in ring.keys.values() if not key.why_invalid(now)]
        valid = {(key.public, key.role): key.name for key in keys}
        gone = {each[0]: name for each, name in self._valid.items() if each not in valid}
        self._valid = valid
        if not gone or self.config.relay is None:
            return
        for public, name in gone.items():
            found = ring.keys.get(public)
            why = found.why_invalid(now) if found is not None else ""
            self.logger.warning("cut connections: %s", why or f"the key of {name} has changed")
        self.config.relay.cut(lambda client: not client.user or client.user in gone)

    def _read(self) -> None:
        # Without a ring that can be read, the last one stays in force.
        try:
            self._folder.ring_file.stat()  # otherwise a lost file would be an empty ring
            ring = self._folder.ring()
        except (PiWheelsError, OSError) as exc:
            if self._gate.ring.keys:
                self.logger.error("the keys stay as they are: %s", exc)
            return
        for problem in set(ring.problems) - self._problems:
            self.logger.error("%s: %s", self._folder.ring_file, problem)
        self._problems = set(ring.problems)
        self._gate.ring = ring
        valid = [key for key in ring.keys.values() if not key.why_invalid(self.clock.now())]
        slaves = sum(key.role is Role.SLAVE for key in valid)
        self.logger.info("%s valid, of slaves: %d", counted(len(valid), "key"), slaves)

    def store(self) -> None:
        """Store when and from where keys were last seen."""
        seen, self._gate.seen = self._gate.seen, {}
        seen = {key: each for key, each in seen.items() if key in self._gate.ring.keys}
        if not seen:
            return
        try:
            self._folder.write_seen(seen)
        except OSError as exc:
            self.logger.error("cannot store when keys were last seen: %s", exc)

    def close(self) -> None:
        """Store when keys were last seen, and end."""
        if self.config.gate is not None and self.config.keys is not None:
            self.store()
        super().close()


def _mark_of(path: Path) -> object:
    try:
        about = path.stat()
    except OSError as exc:
        return exc.errno
    return about.st_mtime_ns, about.st_ino, about.st_size
