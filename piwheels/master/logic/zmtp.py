"""What a client sends over one connection: greeting, handshake and messages (ZMTP 3). Pure.

0MQ limits the size of a frame, and assembles a message in memory however many frames it has. This
module reads the heads of the frames, which CURVE leaves in the clear, so that the relay can count
them before 0MQ gets them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.errors import BadMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_GREETING: Final = 64
_MORE, _LARGE, _COMMAND = 1, 2, 4
#: The largest frame of a handshake, and the largest later command, in bytes.
HANDSHAKE_FRAME, _COMMAND_FRAME = 1024, 512
#: By how many bytes CURVE makes a frame longer.
CURVE_BYTES: Final = 33
#: The bytes that a frame needs in memory, in addition to its content.
FRAME_BYTES: Final = 128
#: The property of a message (ZMTP, READY) by which the relay tells the address of its peer.
ADDRESS: Final = "X-Peer"
#: The answer to a client that is not admitted: a greeting, and an ERROR with status 400.
REFUSAL: Final = (
    b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    + b"\x04\x0a\x05ERROR\x03400"
)  # fmt: skip


class Rules(NamedTuple):
    """What a client may send: the size of a frame in bytes, and the *frames* of a message.

    *messages* is how many it may send in all (0: any number).
    """

    frame: int
    frames: int
    messages: int = 0


class Incoming:
    """The bytes of one client, which keeps to *rules*.

    With *curve*, it needs a key. *address* is added to the properties of its messages; ``""``: none
    is.
    """

    def __init__(self, rules: Rules, address: str = "", *, curve: bool = False) -> None:
        self._rules, self._address = rules, address.encode()
        self._mechanism = b"CURVE" if curve else b"NULL"
        self._greeting = b""
        #: Whether it has another mechanism. It sees that in the greeting of 0MQ, and leaves.
        self.is_strange = False
        #: How many frames of the handshake are still to come.
        self._handshake = 1
        self.is_curve = False
        #: The bytes of the present frame that are still to come, and the frames of its message.
        self.left = self._frames = self._messages = 0

    @property
    def is_open(self) -> bool:
        """Whether the handshake is complete."""
        return not self._handshake

    def handshake(self, data: bytes) -> tuple[bytes, int]:
        """Return what to pass on of the handshake, and how many bytes of *data* that were.

        Raises ``BadMessage``.
        """
        if not data:
            return b"", 0
        if (missing := _GREETING - len(self._greeting)) > 0:
            part = bytes(data[:missing])
            self._greet(self._greeting + part)
            return part[:-1] if self.is_strange else part, len(part)
        if self.is_strange:
            return b"", 0
        head = _head(data, 0)
        if head is None:
            return b"", 0
        flags, size, start = head
        if size > HANDSHAKE_FRAME or not flags & _COMMAND:
            raise BadMessage("no handshake of ZMTP 3")
        if len(data) < start + size:
            return b"", 0
        self._handshake -= 1
        return self._with_address(bytes(data[:start]), bytes(data[start : start + size]))

    def _greet(self, greeting: bytes) -> None:
        signature, version = greeting[:10], greeting[10:11]
        if signature[0] != 0xFF or signature[9:] not in (b"", b"\x7f") or version not in _VERSIONS:
            raise BadMessage("no greeting of ZMTP 3")
        self._greeting = greeting
        if len(greeting) == _GREETING:
            mechanism = greeting[12:32].rstrip(b"\0")
            self.is_curve = mechanism == b"CURVE"
            self._handshake = 2 if self.is_curve else 1
            self.is_strange = mechanism != self._mechanism

    def _with_address(self, head: bytes, body: bytes) -> tuple[bytes, int]:
        used, ready = len(head) + len(body), b"\x05READY"
        if self._address and not self.is_curve and body.startswith(ready):
            # 0MQ keeps the first property of a name: the client cannot replace it.
            name, value = ADDRESS.encode(), self._address
            own = bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
            body = ready + own + body[len(ready) :]
            head = bytes([_COMMAND | _LARGE]) + len(body).to_bytes(8, "big")
        return head + body, used

    def messages(self, data: bytes | memoryview, has_room: Callable[[int], bool]) -> int:
        """Return how many bytes of *data* to pass on.

        *has_room* is asked for the memory of each frame. Raises ``BadMessage``.
        """
        at, end = 0, len(data)
        while at < end:
            if self.left:
                part = min(self.left, end - at)
                self.left -= part
                at += part
                continue
            head = _head(data, at)
            if head is None or not self._admit(*head[:2], has_room):
                break
            _, self.left, at = head
        return at

    def _admit(self, flags: int, size: int, has_room: Callable[[int], bool]) -> bool:
        is_command = bool(flags & _COMMAND) and not self.is_curve
        most = _COMMAND_FRAME if is_command else self._rules.frame
        if size > most + (CURVE_BYTES if self.is_curve else 0):
            raise BadMessage(f"a frame of {size:,} bytes, of at most {most:,}")
        if not is_command and not has_room(size + FRAME_BYTES):
            return False
        if not self.is_curve and not is_command:
            self._frames = self._frames + 1 if flags & _MORE else 0
            if self._frames >= self._rules.frames:
                raise BadMessage(f"a message of more than {self._rules.frames} frames")
        self._messages += 1
        if 0 < self._rules.messages < self._messages:
            raise BadMessage(f"more than {self._rules.messages} messages on one connection")
        return True

    def memory(self, frames: Sequence[bytes]) -> int:
        """Return the memory for which :meth:`messages` has asked, for a message of *frames*."""
        each = FRAME_BYTES + (CURVE_BYTES if self.is_curve else 0)
        return sum(map(len, frames)) + each * len(frames)


_VERSIONS: Final = (b"", *(bytes([each]) for each in range(3, 256)))


def _head(data: bytes | memoryview, at: int) -> tuple[int, int, int] | None:
    """Return the flags and the size of the frame at *at*, and where its content begins."""
    left = len(data) - at
    if left < 2:
        return None
    flags = data[at]
    if flags > _MORE | _LARGE | _COMMAND:
        raise BadMessage("no frame of ZMTP 3")
    if not flags & _LARGE:
        return flags, data[at + 1], at + 2
    if left < 9:
        return None
    return flags, int.from_bytes(data[at + 1 : at + 9], "big"), at + 9
