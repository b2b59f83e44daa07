"""Draws ``docs/console.svg``: a screenshot of the console with a fixed simulated farm.

Run it with the project's interpreter: ``.venv/bin/python docs/picture.py``.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from piwheels.console.model.link import LinkState
from piwheels.console.simulate.source import simulated_session
from piwheels.console.ui.app import ConsoleApp
from piwheels.console.ui.prefs import Prefs

SIZE = (120, 40)
NOW = datetime(2026, 11, 24, 12, 41, 7, tzinfo=UTC)
SLAVES, SEED = 212, 7
#: The keys to press before the screenshot.
KEYS = ["j"] * 9 + ["space", "j", "j", "space", "j", "p", "y"]


async def draw(path: Path) -> None:
    """Run the console without a terminal, and save a screenshot."""
    begin = NOW - timedelta(seconds=40)
    farm, session = simulated_session(SLAVES, SEED, begin)
    app = ConsoleApp(session, prefs=Prefs(theme="textual-dark"), clock=lambda: farm.now)
    async with app.run_test(size=SIZE) as pilot:
        end = time.monotonic() + 60
        while farm.now < NOW or session.state is not LinkState.LIVE:
            assert time.monotonic() < end, "the console does not attach"  # noqa: S101
            farm.now = min(NOW, farm.now + timedelta(seconds=1))
            session.pump(farm.now)
            session.tick(farm.now)
            await pilot.pause()
        for key in KEYS:
            await pilot.press(key)
            await pilot.pause()
        await asyncio.sleep(1)  # the screen updates four times a second
        drawn = app.export_screenshot(title="piw-console")
    # Use a font of the browser instead of a download.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.S), encoding="utf-8")


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    asyncio.run(draw(Path(__file__).with_name("console.svg")))
    sys.stdout.write("drawn: docs/console.svg\n")
