"""The conversation of one lane with the master. Pure: replies and the time in, requests out.

A lane does one thing after the other: it greets, asks for work, builds, and sends files. Times are
in monotonic seconds.
"""

from __future__ import annotations

import math
import random
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from piwheels.core.errors import PiWheelsError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two BUSY messages during a build.
CONT_WAIT: Final = 10.0
#: The least number of seconds between two OUTPUT messages.
OUTPUT_WAIT: Final = 2.0
#: Seconds between two requests of an idle slave: the first time, at most, and at most if the master
#: is on the same machine.
SLEEP_FIRST, SLEEP_MAX, SLEEP_MAX_LOCAL = 1.0, 10.0, 2.0
#: Seconds between two messages of a lane that may begin no build.
ALIVE_WAIT: Final = 60.0
#: The pause before a refused slave greets again, in seconds: the first one, and the longest.
REFUSED_FIRST, REFUSED_MAX = 1.0, 60.0


class MasterTimeout(PiWheelsError):
    """The connection is lost, or the master did not reply in time: connect again."""


class SlaveRefused(PiWheelsError):
    """The master has refused this slave, for the reason in the text: try again later."""


class Pauses:
    """Random pauses that grow, from about *first* to at most *most* seconds.

    They are random, so that not all slaves of a farm reconnect at the same time.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._next = first

    def grow(self) -> float:
        """Return the next pause, in seconds."""
        pause, self._next = self._next, min(self._next * 2, self._most)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = self._first


class Step(StrEnum):
    """What a lane does until its next request."""

    GREET = "greet"  #: waits until it may greet
    LISTEN = "listen"  #: waits for the reply to its request
    REST = "rest"  #: waits until it may ask for work
    BUILD = "build"
    SEND = "send"  #: sends a file
    CLEAR = "clear"  #: ends its build, and removes it


class Lane:
    """The lane *number* of a slave (0: it has only one), which speaks the protocol *level*.

    It rests for *longest* seconds at most.
    """

    def __init__(self, number: int, level: int, longest: float = SLEEP_MAX) -> None:
        self.number = number
        #: The number that the master gave it.
        self.slave_id: int | None = None
        self.step = Step.GREET
        #: The last request, and when its reply is overdue.
        self.request, self.deadline = "", math.inf
        #: The number of characters of the build's log that the master has.
        self.sent = 0
        self.refusals = Pauses(REFUSED_FIRST, REFUSED_MAX)
        self._level, self._longest = level, longest
        self._pause = SLEEP_FIRST
        self._due = -math.inf
        self._alive_due = self._busy_due = self._output_due = math.inf
        #: Whether it repeated its HELLO, and the master has not accepted it since.
        self._greets_again = False

    # Requests -------------------------------------------------------------------------------

    def next_request(self, now: float, *, works: bool, may_begin: Callable[[], bool]) -> str:
        """Return the name of the request that is due; ``""``: none.

        *works*: its build, its transfer or its clean-up still runs. *may_begin* says whether this
        machine may begin a build.
        """
        match self.step:
            case Step.GREET if now >= self._due:
                return "HELLO"
            case Step.CLEAR if not works:
                self.rest(now, 0.0)
                return self.next_request(now, works=works, may_begin=may_begin)
            case Step.REST if now >= self._due and not works and may_begin():
                return "IDLE"
            case Step.REST if now >= self._alive_due and self.number:
                return "WAIT"
            case Step.BUILD if not works:
                return "BUILT"
            case Step.BUILD if now >= self._busy_due:
                return "BUSY"
            case Step.BUILD if now >= self._output_due:
                return "OUTPUT"
            case Step.SEND if not works:
                return "SENT"
        return ""

    def wakes_at(self, now: float) -> float:
        """Return when the next request may be due, if nothing happens until then."""
        match self.step:
            case Step.GREET | Step.REST if self._due > now:
                return self._due
            case Step.BUILD:
                return min(self._busy_due, self._output_due)
            case Step.LISTEN:
                return self.deadline
        return math.inf

    def said(self, request: str, now: float, limit: float) -> None:
        """Record that it sent *request*, whose reply is overdue after *limit* seconds.

        At level 1, the reply to ``HELLO`` may take any time. (At level 0, no reply can be a
        refusal.)
        """
        self.step, self.request = Step.LISTEN, request
        self.deadline = math.inf if request == "HELLO" and self._level > 0 else now + limit
        if request == "BUSY":
            self._busy_due = now + CONT_WAIT

    def looked(self, now: float) -> None:
        """Record that it has looked for new output."""
        self._output_due = now + OUTPUT_WAIT

    # Replies --------------------------------------------------------------------------------

    def check_reply(self, msg: str, data: object, *, forgotten: bool) -> None:
        """Raise ``SlaveRefused`` or ``MasterTimeout`` if the reply *msg* says so.

        At level 0, ``DIE`` has other meanings, too. In reply to ``HELLO``, it refuses the slave
        (``SlaveRefused``). If the slave may be *forgotten*, because its connection was lost or the
        master has heard nothing for long, the master does not know it any more
        (``MasterTimeout``).
        """
        hello = self.request == "HELLO"
        match msg:
            case "REFUSED":
                raise SlaveRefused(str(data))
            case "HELLO" if hello or self._greets_again:
                raise SlaveRefused("it requests HELLO again and again")
            case "DIE" if hello and self._level == 0:
                raise SlaveRefused("it accepts no more slaves (see its log)")
            case "DIE" if self._level == 0 and forgotten:
                raise MasterTimeout("the master does not know this slave any more")
            case "HELLO":
                self._greets_again = True
            case "ACK":
                pass  # it does not prove that the master accepts this slave
            case _:
                self.refusals.reset()
                self._greets_again = False
        if msg != "SLEEP":
            self._pause = SLEEP_FIRST

    def greet(self, due: float = -math.inf) -> None:
        """Greet, as soon as it is *due*."""
        self.step, self._due = Step.GREET, due

    def rest(self, now: float, pause: float | None = None) -> None:
        """Ask for work after *pause* (``None``: longer each time)."""
        if pause is None:
            pause, self._pause = self._pause, min(self._pause * 2, self._longest)
        self.step, self._due, self._alive_due = Step.REST, now + pause, now + ALIVE_WAIT

    def build(self, now: float, *, resumed: bool = False) -> None:
        """Report the build that has begun or that the master lets continue, from its beginning."""
        self.step, self.sent = Step.BUILD, 0
        self._busy_due = now if resumed else now + CONT_WAIT
        self._output_due = now + OUTPUT_WAIT if self._level > 0 else math.inf
