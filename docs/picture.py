"""Draw ``docs/console.svg``: the console itself, before a simulated farm that is always the same.

Run it with the project's interpreter: ``.venv/bin/python docs/picture.py``.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piwheels.console.model.events import Answer, Incoming, Sent, WireUp
from piwheels.console.model.link import LinkState
from piwheels.console.session import Session
from piwheels.console.simulate.world import World
from piwheels.console.ui.app import ConsoleApp
from piwheels.console.ui.prefs import Prefs
from piwheels.core.codec import NoData
from piwheels.core.protocols import Welcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.console.model.events import Outgoing

SIZE = (120, 40)
NOW = datetime(2026, 11, 24, 12, 41, 7, tzinfo=UTC)
SLAVES, SEED, PACE = 212, 7, 1
#: What is typed before the picture is taken.
KEYS = ["j"] * 9 + ["space", "j", "j", "space", "j", "p", "y"]


class Simulated:
    """A session's source: a simulated farm, answered for without sockets."""

    name = "farm.example"

    def __init__(self) -> None:
        self.now = NOW - timedelta(seconds=40)
        self._world = World(SLAVES, SEED, self.now - timedelta(hours=3), pace=PACE)
        self._world.live_until(self.now)
        self._coming: deque[Any] = deque()

    def start(self) -> None:
        """Be there at once."""
        self._coming.extend(map(WireUp, ("status", "control", "console")))

    def stop(self) -> None:
        """Nothing is open."""

    def take(self) -> Iterator[Incoming]:
        """Give what has happened since."""
        self._coming.extend(self._world.step(self.now))
        while self._coming:
            yield Incoming(self.now, self._coming.popleft())

    def send(self, outgoing: Outgoing) -> None:
        """Answer as a master of level 1 does."""
        answers: dict[str, Any] = {
            "HELLO": lambda: Welcome(1, self._world.info, paused=False),
            "SLAVES": lambda: self._world.replay(outgoing.data, 2000, self.now),
            "FIGURES": lambda: list(self._world.figures),
            "QUEUE": lambda: self._world.heads(20),
            "BUILDS": lambda: list(self._world.builds),
        }
        data = answers.get(outgoing.msg, lambda: NoData)()
        self._coming += [Sent(outgoing.ticket), Answer(outgoing.ticket, outgoing.msg, data)]


async def draw(path: Path) -> None:
    """Run the console without a terminal, and save what it shows."""
    source = Simulated()
    wires = ("status", "control", "console")
    session = Session(source, who="you", addresses=dict.fromkeys(wires, "ipc://farm"))
    app = ConsoleApp(session, prefs=Prefs(), clock=lambda: source.now)
    async with app.run_test(size=SIZE) as pilot:
        end = time.monotonic() + 60
        while source.now < NOW or session.state is not LinkState.LIVE:
            assert time.monotonic() < end, "the console does not attach"  # noqa: S101
            source.now = min(NOW, source.now + timedelta(seconds=1))
            session.pump(source.now)
            session.tick(source.now)
            await pilot.pause()
        for key in KEYS:
            await pilot.press(key)
            await pilot.pause()
        await asyncio.sleep(1)  # the screen shows what has changed four times a second
        drawn = app.export_screenshot(title="piw-console")
    # Whoever looks at it asks nobody for a font: the browser has one.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.S), encoding="utf-8")


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    asyncio.run(draw(Path(__file__).with_name("console.svg")))
    sys.stdout.write("drawn: docs/console.svg\n")
