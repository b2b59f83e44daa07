"""The errors that piwheels raises on purpose. Their texts are sentences for people.

Any other exception is a bug in piwheels: it ends the task, and the program with it, unless a single
input has triggered it (``Task.unexpected``).
"""

from __future__ import annotations

from piwheels.core.text import CONTROL


class PiWheelsError(Exception):
    """Base of all errors that piwheels raises on purpose. The text is a sentence for people."""


class BadMessage(PiWheelsError, ValueError):
    """A peer sent bytes that are not a message of the protocol. It never ends a task.

    *address* is the ROUTER socket's address of the peer, or ``None`` if it is unknown;
    *message* is the name of the message, and *peer* that of the peer in log lines; ``""`` if they
    are unknown.
    """

    address: bytes | None = None
    message: str = ""
    peer: str = ""


class Refused(PiWheelsError):
    """A request was understood and refused; *code* is one of the protocol's code words."""

    def __init__(self, code: str, why: str = "") -> None:
        super().__init__(why or code)
        self.code = code


class BadWheel(PiWheelsError, ValueError):
    """A file is not a valid wheel, or not the wheel that its name promises."""


class DatabaseError(PiWheelsError):
    """A query failed, and all retries failed, too."""


class Rejected(DatabaseError):
    """The database rejects the data of a call: the same call would fail again."""


class Unavailable(PiWheelsError):
    """A peer did not answer in time, or the connection to it was lost."""


class Fatal(PiWheelsError):
    """The program cannot start or continue; the text gives the reason and the remedy."""


def should_log(count: int) -> bool:
    """Return whether to log the *count*-th repetition of an event: the 1st, 10th, 100th, ..."""
    return str(count).strip("0") == "1"


def one_line(error: object) -> str:
    """Return the text of *error* as one line of at most 1,000 characters."""
    return CONTROL.sub(" ", str(error))[:1000]
