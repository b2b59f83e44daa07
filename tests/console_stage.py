"""A session with a scripted master, without sockets, for tests of screens."""

import asyncio
import time
from collections import deque
from datetime import UTC, datetime, timedelta

from helpers import patience
from piwheels.console.model import events
from piwheels.console.model.link import LinkState
from piwheels.console.session import Session
from piwheels.console.ui.app import ConsoleApp
from piwheels.core.protocols import BuildOutcome, LogPart, Output, SlaveEvent, Welcome
from piwheels.core.states import MasterInfo, SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 41, 7, tzinfo=UTC)
BEGAN = NOW - timedelta(days=12)
GIB = 2**30
#: The theme that Textual starts with: another one styles everything again.
DEFAULT_THEME = "textual-dark"


def master_info(started=BEGAN):
    return MasterInfo(started, "farm1.farm.example", "Debian", "12", "Pi 5", "10000000deadbeef")


def slave_info(label="pi4-rack1-03", abi="cp313"):
    limits = timedelta(hours=3), timedelta(minutes=15)
    return SlaveInfo(
        *limits, "3.13.5", abi, "linux_aarch64", label, "Debian", "13", "Pi 4B rev1.5 4Gi", "1000ab"
    )


def slave_stats(at, load=0.5, temp=51.0, disk=0.3):
    sizes = 58 * GIB, int(58 * GIB * (1 - disk)), 4 * GIB, 3 * GIB, GIB, GIB
    return SlaveStats(at, *sizes, load, temp)


class ScriptedMaster:
    """The source of a session. It answers at once; *logs* has the stored logs, by build id.

    *answers* has those to other requests.
    """

    name = "scripted"

    def __init__(self, level=1):
        self.level = level
        self.info = master_info()
        self.logs = {}
        self.answers = {}
        self.part = 2**19
        self.asked = []
        self.inbox = deque()
        self.now = NOW

    def start(self):
        for wire in ("status", "control", *(["console"] if self.level else [])):
            self.say(events.WireUp(wire))

    def stop(self):
        pass

    def take(self):
        while self.inbox:
            yield self.inbox.popleft()

    def say(self, event):
        self.inbox.append(events.Incoming(self.now, event))

    def send(self, outgoing):
        self.asked.append((outgoing.msg, outgoing.data))
        self.say(events.Sent(outgoing.ticket))
        if outgoing.wire == "control":
            if outgoing.msg == "HELLO":
                self.say(self.info)
            return
        data, refused = self._answer(outgoing.msg, outgoing.data)
        self.say(events.Answer(outgoing.ticket, outgoing.msg, data, refused))

    def _answer(self, msg, data):
        match msg:
            case "HELLO":
                return Welcome(1, self.info, False), ""
            case "LOG":
                number, offset = data
                if number not in self.logs:
                    return None, f"there is no log of build {number}"
                log = self.logs[number]
                return LogPart(offset, log[offset : offset + self.part], len(log)), ""
        return self.answers.get(msg, []), ""


class Stage:
    """An attached session, and a clock that is moved by hand."""

    def __init__(self, level=1, **how):
        self.master = ScriptedMaster(level)
        addresses = {wire: f"ipc://{wire}" for wire in ("status", "control")}
        if level:
            addresses["console"] = "ipc://console"
        self.session = Session(self.master, who="you@tty1", addresses=addresses, **how)
        self.now = NOW
        self.session.start(self.now)
        for _ in range(10):
            self.wait()
            if self.session.state is LinkState.LIVE:
                break
        assert self.session.state is LinkState.LIVE

    def clock(self):
        return self.now

    def pump(self):
        while self.master.inbox:
            self.session.pump(self.now)

    def wait(self, seconds=1):
        self.pump()
        self.now += timedelta(seconds=seconds)
        self.master.now = self.now
        self.session.tick(self.now)
        self.pump()

    def send(self, slave_id, message, data=None):
        self.master.say(SlaveEvent(slave_id, self.now, message, data))
        self.pump()

    def join(self, slave_id=3, **how):
        self.send(slave_id, "HELLO", slave_info(**how))

    def build(self, slave_id=3, package="grpcio", version="1.75.1"):
        self.send(slave_id, "BUILD", (package, version))

    def output(self, offset, text, slave_id=3, package="grpcio", version="1.75.1"):
        self.master.say(Output(slave_id, package, version, offset, text))
        self.pump()

    def end(self, result="ok", build_id=77, slave_id=3, package="grpcio", version="1.75.1", **how):
        """End a build: send the events for all consoles, and those for level 1."""
        if result == "ok":
            self.send(slave_id, "SEND", f"{package}-{version}-py3-none-any.whl")
        self.send(slave_id, "DONE")
        if self.master.level:
            took = how.get("took", timedelta(minutes=31, seconds=55))
            ended = result, took, how.get("files", 0), self.now
            label = "pi4-rack1-03"
            self.master.say(
                BuildOutcome(build_id, slave_id, label, package, version, "cp313", *ended)
            )
        self.pump()


# Running screens ----------------------------------------------------------------------------------


async def until(pilot, happens, what="it has not happened"):
    """Wait until *happens* is true."""
    begin = time.monotonic()
    while True:
        await pilot.pause()
        if happens():
            return
        assert time.monotonic() - begin < patience(30), what
        await asyncio.sleep(0.01)


async def renew(app, pilot):
    """Show all pending events."""
    await pilot.pause()
    app.session.pump(app.now())
    app.screen.show_all()
    await pilot.pause()
    await pilot.pause()


def play(stage, begin, story, size=(120, 40), **how):
    """Run the console; *begin* opens a screen; *story* gets the application and its pilot."""

    async def run():
        app = ConsoleApp(stage.session, clock=stage.clock, theme=DEFAULT_THEME, **how)
        async with app.run_test(size=size) as pilot:
            first = app.screen
            begin(app)
            await until(pilot, lambda: app.screen is not first)
            await renew(app, pilot)
            return await story(app, pilot)

    return asyncio.run(run())


def lines_of(app, name):
    """Return the text of the widget *name*, row by row."""
    region = app.screen.query_one(name).region
    strips = app.screen._compositor.render_strips()[region.y : region.bottom]
    return [strip.crop(region.x, region.right).text.rstrip() for strip in strips]
