"""The errors that we raise on purpose: a bad peer, a typed refusal, a sentence for a person.

Anything else that is raised is a bug of ours: the task ends, and the program with it.
"""

from __future__ import annotations

from piwheels.core.text import CONTROL


class PiWheelsError(Exception):
    """Base of the errors that we raise on purpose. Its text is a sentence for a person."""


class BadMessage(PiWheelsError, ValueError):
    """A peer sent bytes that are not a message of the protocol. Never ends a task.

    *address* is the peer's, where the socket knows it.
    """

    address: bytes | None = None


class Refused(PiWheelsError):
    """A request was understood and turned down; *code* is one of the protocol's code words."""

    def __init__(self, code: str, why: str = "") -> None:
        super().__init__(why or code)
        self.code = code


class BadWheel(PiWheelsError, ValueError):
    """A file is not the wheel that it says it is."""


class DatabaseError(PiWheelsError):
    """The database could not do what was asked, and trying again did not help."""


class Unavailable(PiWheelsError):
    """The other side of a wait did not answer in time."""


class Fatal(PiWheelsError):
    """The program cannot start or go on; the text says why, and what to do."""


def worth_telling(count: int) -> bool:
    """Return whether what has happened *count* times is to be told again: the 1st, 10th, 100th."""
    return str(count).strip("0") == "1"


def one_line(error: object) -> str:
    """Return an error's text as one line of at most 1,000 characters, for an answer."""
    return CONTROL.sub(" ", str(error))[:1000]
