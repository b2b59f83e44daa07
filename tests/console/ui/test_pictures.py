"""What the screens look like, as pictures: SVG at three sizes, in colour and in NO_COLOR.

They show a simulated farm that is always the same. After a wanted change: look at the pictures
(``./go test tests/console/ui/test_pictures.py --snapshot-update``, then any browser).
"""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from syrupy.extensions.image import SVGImageSnapshotExtension

from console_stage import until
from piwheels.console.model.link import LinkState
from piwheels.console.simulate.source import simulated_session
from piwheels.console.ui.app import ConsoleApp
from piwheels.console.ui.prefs import Prefs

NOW = datetime(2026, 11, 24, 12, 41, 7, tzinfo=UTC)
#: A place, and the keys that lead there from the match before.
PLACES = {
    "fleet": ["j", "j", "space", "j", "space"],
    "kill": ["K"],
    "menu": ["escape", "a"],
    "help": ["escape", "question_mark"],
    "slave": ["escape", "enter"],
    "log": ["l"],
    "queue": ["escape", "escape", "2"],
    "events": ["3"],
    "master": ["4"],
    "pause": ["P"],
    "heat": ["escape", "5"],
}
WITHOUT_COLOUR = ("fleet", "heat")


async def draw(size):
    """Go from place to place; yield the name and the picture of each."""
    farm, session = simulated_session(14, 7, NOW - timedelta(seconds=40))
    app = ConsoleApp(session, prefs=Prefs(theme="textual-dark"), clock=lambda: farm.now)
    async with app.run_test(size=size) as pilot:
        for timer in list(app._timers):  # time passes when we say so
            timer.pause()
        while farm.now < NOW or app.session.state is not LinkState.LIVE:
            farm.now += timedelta(seconds=1)
            app.session.pump(farm.now)
            app.session.tick(farm.now)
            await pilot.pause()
        for name, keys in PLACES.items():
            for key in keys:
                await pilot.press(key)
                await pilot.pause()
            await settled(app, pilot)
            drawn = app.export_screenshot(title=name)
            yield name, re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.S)


async def settled(app, pilot):
    """Wait until the picture is the same twice in a row."""
    before = []

    def same():
        app.pump()
        app._tick()
        app.farm_screen.show_all()
        app.farm_screen.show_frame()
        seen = app.export_screenshot()
        before.append(seen)
        return len(before) > 1 and seen == before[-2]

    await until(pilot, same, "it never stands still")


def pictures(size, wanted):
    async def run():
        return {name: drawn async for name, drawn in draw(size) if name in wanted}

    return asyncio.run(run())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)], ids=lambda size: f"{size[0]}")
@pytest.mark.parametrize("wanted", [tuple(PLACES), WITHOUT_COLOUR], ids=["colour", "no-colour"])
def test_pictures(size, wanted, snapshot, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    if wanted is WITHOUT_COLOUR:
        monkeypatch.setenv("NO_COLOR", "1")
    pixels = snapshot.use_extension(SVGImageSnapshotExtension)
    for name, drawn in pictures(size, wanted).items():
        assert drawn == pixels(name=name)
