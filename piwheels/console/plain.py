"""``piw-console --plain``: a sentence for each event, for pipes, logs and screen readers."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from piwheels.console.model.link import LinkState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from typing import TextIO

    from piwheels.console.model.journal import Entry
    from piwheels.console.session import Session

#: The pause between two looks at new events, in seconds.
TURN: Final = 0.25
#: How long an entry is held back, since it may be merged with later ones.
SETTLED: Final = timedelta(seconds=5)
#: The speed at which a recording is replayed.
REPLAY_SPEED: Final = 1000.0
#: Texts for states of the link that the journal does not mention.
_LINKS: Final = {
    LinkState.CONNECTING: "connecting to",
    LinkState.ATTACHING: "asking the master at",
    LinkState.REPLAYING: "loading the state of the farm from",
    LinkState.MISMATCH: "receiving invalid messages from",
    LinkState.FILE: "replaying",
}


def run(
    session: Session,
    out: TextIO,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Write a line for each event to *out*, forever; for a recording, up to its end.

    Raises ``BrokenPipeError`` when the reader is gone.
    """
    session.start(clock())
    if session.recording is not None:
        session.recording.speed = REPLAY_SPEED
    try:
        for line in _lines(session, clock, sleep):
            out.write(f"{line}\n")
            out.flush()
    finally:
        session.close()
    return 0


def _lines(
    session: Session, clock: Callable[[], datetime], sleep: Callable[[float], None]
) -> Iterator[str]:
    reported, state, advice = 0, None, [""]
    while True:
        recording = session.recording
        while session.pump(now := clock() if recording is None else recording.position):
            pass
        session.tick(now)
        over = recording is not None and not recording.playing
        if session.state is not state:
            state = session.state
            if state in _LINKS:
                yield f"{_when(session.shown(now))} LINK: {_LINKS[state]} {session.source.name}"
        for number, entry in session.journal.since(reported):
            if now - entry.at < SETTLED and not over:
                break
            reported = number + 1
            yield sentence(entry, session.shown(entry.at))
        # When it is clear that nobody answers, and when the reason changes.
        if len(session.advice()) > 1 and session.advice() != advice:
            advice = session.advice()
            yield from (f"{_when(session.shown(now))} LINK: {line}" for line in advice)
        if over:
            return
        sleep(TURN if recording is None else TURN / 50)


def sentence(entry: Entry, at: datetime) -> str:
    """Return an entry of the journal as a line; *at* is its time by the wall clock.

    An example: ``2026-11-24 12:41:07 LEFT: pi4-01 (#3), bye``.
    """
    slave = entry.label
    if entry.slave_id is not None:
        slave = f"{slave} (#{entry.slave_id})".lstrip()
    words = [f"{_when(at)} {entry.kind}: {slave}".rstrip(": ")]
    what = f"{entry.what} ({entry.detail})" if entry.detail else entry.what
    return f"{words[0]}{', ' if slave else ': '}{what}"


def _when(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
