"""Asking MrChase, as the administrators' programs and piw-up do (the import queue)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

import zmq

from piwheels.core.codec import NoData
from piwheels.core.errors import Refused, Unavailable
from piwheels.core.protocols import mr_chase
from piwheels.core.transport import Context

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that the master may take for one answer.
ANSWER: Final = 60.0


class Admin:
    """Asks the master at *address*, one question at a time.

    *meanwhile* is called several times a second while an answer is waited for, and may raise to
    end the wait. Use it as a context manager, or close it.
    """

    def __init__(self, address: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._address = address
        self._meanwhile = meanwhile
        self._socket = Context().socket(zmq.REQ, reversed(mr_chase))
        self._socket.connect(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the conversation."""
        self._socket.close()

    def ask(self, msg: str, data: Any = NoData, limit: float = ANSWER) -> tuple[str, str]:
        """Ask, and return the answer: ``DONE`` with a code word, or ``SEND`` with a file's name.

        Raises :exc:`~piwheels.core.errors.Refused` with what the master says against it, and
        :exc:`~piwheels.core.errors.Unavailable` if it says nothing for *limit* seconds.
        """
        self._socket.send_msg(msg, data)
        deadline = time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            if self._socket.poll(min(left, 0.2)):
                reply, text = self._socket.recv_msg()
                if reply == "ERROR":
                    raise Refused(msg, str(text))
                return reply, str(text)
            self._meanwhile()
        raise Unavailable(
            f"the master did not answer {msg} within {limit:g} s: see that piw-master runs and"
            f" listens at {self._address} (--import-queue)"
        )
