"""Pictures of the screens: SVG at three sizes, in colour and with NO_COLOR.

They show a simulated farm that is always the same. After an intended change, check the pictures
(``./go test tests/console/ui/test_pictures.py --snapshot-update``, then any browser).
"""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from syrupy.extensions.image import SVGImageSnapshotExtension

from piwheels.console.model.link import LinkState
from piwheels.console.simulate.source import simulated_session
from piwheels.console.ui.app import ConsoleApp
from piwheels.console.ui.prefs import Prefs

NOW = datetime(2026, 11, 24, 12, 41, 7, tzinfo=UTC)
#: A screen, and the keys that lead there from the previous one.
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
#: On a farm with hosts of several lanes.
BOARDS = {
    "boards": ["g", "j"],
    "folded": ["b"],
    "targets": ["2", "T"],
    "why": ["escape", "tab", "e"],
}
WITHOUT_COLOUR = {"fleet": PLACES["fleet"], "heat": ["5"]}


async def draw(size, places):
    """Visit all places; return the picture of each by its name."""
    slaves, hosts = (3, 4) if places is BOARDS else (14, 0)
    farm, session = simulated_session(slaves, 7, NOW - timedelta(seconds=40), hosts=hosts)
    app = ConsoleApp(session, prefs=Prefs(theme="textual-dark"), clock=lambda: farm.now)
    drawn = {}
    async with app.run_test(size=size) as pilot:
        for timer in list(app._timers):  # time is moved by hand
            timer.pause()
        while farm.now < NOW or app.session.state is not LinkState.LIVE:
            farm.now += timedelta(seconds=1)
            app.session.pump(farm.now)
            app.session.tick(farm.now)
        for name, keys in places.items():
            await pilot.press(*keys)
            for _ in range(2):  # the frame shows the focus, which may have moved
                app.pump()
                app._tick()
                app.farm_screen.show_all()
                app.farm_screen.show_frame()
                await pilot.pause()
            picture = app.export_screenshot(title=name)
            drawn[name] = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.S)
    return drawn


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)], ids=lambda size: f"{size[0]}")
@pytest.mark.parametrize(
    "places", [PLACES, WITHOUT_COLOUR, BOARDS], ids=["colour", "no-colour", "hosts"]
)
def test_pictures(size, places, snapshot, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    if places is WITHOUT_COLOUR:
        monkeypatch.setenv("NO_COLOR", "1")
    pixels = snapshot.use_extension(SVGImageSnapshotExtension)
    for name, picture in asyncio.run(draw(size, places)).items():
        assert picture == pixels(name=name)
