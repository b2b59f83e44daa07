"""The whole console with random keys over a simulated farm."""

import asyncio
from collections import deque
from contextlib import suppress
from datetime import timedelta
from random import Random

import pytest

from console_stage import NOW, ScriptedMaster, Stage, slave_info, until
from piwheels.console.model import events
from piwheels.console.model.commands import Verb
from piwheels.console.session import Session
from piwheels.console.simulate.world import ANSWERED, World
from piwheels.console.text import spark
from piwheels.console.ui.app import ConsoleApp
from piwheels.console.ui.screens.help import HelpScreen
from piwheels.core.codec import NoData
from piwheels.core.errors import Refused
from piwheels.core.protocols import SlaveEvent, Welcome

VERBS = {"SLEEP": Verb.PAUSE, "WAKE": Verb.RESUME, "SKIP": Verb.SKIP, "KILL": Verb.KILL}
SIZES = [(1, 1), (4, 3), (20, 5), (59, 14), (80, 24), (120, 40), (400, 120)]
USUAL = ["up", "down", "pagedown", "end", "enter", "escape", "tab", "space", "y", *"12345"]
LEAVES = {"q", "f10", "ctrl+c", "ctrl+z", "ctrl+q"}


class SimulatedMaster(ScriptedMaster):
    """A master of a simulated farm that can be lost, and that records forbidden messages."""

    def __init__(self, world, level):
        super().__init__(level)
        self.world, self.info = world, world.info
        self.session = None
        self.lost = False
        self.not_allowed = []

    def send(self, outgoing):
        if outgoing.msg in VERBS and self.session.why_not(VERBS[outgoing.msg]):
            self.not_allowed.append((outgoing, self.session.state))
        if self.lost:
            self.say(events.Unsent(outgoing.ticket, "there is nobody"))
            return
        super().send(outgoing)
        if outgoing.wire == "control" and outgoing.msg == "HELLO":
            for event in self.world.replay(0, 10_000, self.now):
                self.say(event)

    def _answer(self, msg, data):
        world = self.world
        match msg:
            case "HELLO":
                return Welcome(1, self.info, world.paused), ""
            case "SLAVES":
                return world.replay(data, 500, self.now), ""
            case _ if msg in ANSWERED:
                with suppress(Refused):
                    return world.answer(msg, data), ""
                return None, "refused"
            case "WATCH":
                if (said := world.watch(data, self.now)) is not None:
                    self.say(said)
                return NoData, ""
            case "SLEEP" | "WAKE" | "SKIP" | "KILL":
                return world.command(msg, data, "somebody", self.now), ""
        return super()._answer(msg, data)

    def turn(self, wires):
        """Lose the link, or restore it."""
        self.lost = not self.lost
        for wire in wires:
            self.say(events.WireDown(wire, "gone") if self.lost else events.WireUp(wire))


def keys_of(app):
    """Return all active keys, except those that quit."""
    of = (app, *app.screen.walk_children(with_self=True))
    return sorted({key for each in of for key in each._bindings.key_to_bindings} - LEAVES)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.usefixtures("painted")
def test_random_keys_cause_no_error_and_no_unconfirmed_command(level, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # tables are saved there
    random = Random(level)  # noqa: S311 (no secrets)
    world = World(20, 1, NOW - timedelta(minutes=5), hosts=4, hostile=True, pace=20)
    world.live_until(NOW)
    master = SimulatedMaster(world, level)
    wires = ("status", "control", "console")[: 2 + level]
    session = Session(master, who="you", addresses={wire: f"ipc://{wire}" for wire in wires})
    master.session = session
    app = ConsoleApp(session, clock=lambda: master.now)

    def wait(seconds):
        master.now += timedelta(seconds=seconds)
        for event in world.step(master.now):
            if not master.lost:
                master.say(event)
        app.pump()
        app._tick()

    async def play():
        async with app.run_test(size=(100, 30)) as pilot:
            for _ in range(50):
                chance = random.random()
                if chance < 0.08:
                    await pilot.resize_terminal(*random.choice(SIZES))
                elif chance < 0.12:
                    master.turn(wires)
                elif chance < 0.3:
                    wait(random.choice((0.2, 1, 5, 20)))
                else:
                    app.commands._keys_ignored_until = 0.0
                    await pilot.press(random.choice(USUAL if chance < 0.5 else keys_of(app)))
            wait(1)
            await pilot.pause()
            assert app.is_running

    asyncio.run(play())
    assert master.not_allowed == []


class Flood(deque):
    """An inbox that is never empty: slaves join and leave forever."""

    def __init__(self, master):
        super().__init__()
        self._master = master
        self.taken = 0

    def popleft(self):
        self.taken += 1
        number, leaves = divmod(self.taken, 2)
        what = ("DIE", NoData) if leaves else ("HELLO", slave_info())
        event = SlaveEvent(1 + number, self._master.now, *what)
        return events.Incoming(self._master.now, event)

    def __bool__(self):
        return True


def test_keys_are_handled_during_a_flood_of_events():
    stage = Stage()

    async def play():
        app = ConsoleApp(stage.session, clock=stage.clock)
        async with app.run_test(size=(80, 24)) as pilot:
            stage.master.inbox = Flood(stage.master)
            app.pump()
            app.simulate_key("question_mark")
            for _ in range(3000):
                if isinstance(app.screen, HelpScreen):
                    break
                await asyncio.sleep(0.01)
            stage.master.inbox = deque()
            await until(pilot, lambda: isinstance(app.screen, HelpScreen))

    asyncio.run(asyncio.wait_for(play(), 60))


@pytest.mark.parametrize("key", ["a", "K", "?", "ctrl+p", "enter"])
def test_open_dialogs_survive_a_tiny_terminal(key):
    stage = Stage()
    stage.join(3)
    stage.build(3)

    async def play():
        app = ConsoleApp(stage.session, clock=stage.clock)
        async with app.run_test(size=(80, 24)) as pilot:
            app.pump()
            await pilot.pause()
            await pilot.press(key)
            for size in ((1, 1), (3, 8), (80, 24)):
                await pilot.resize_terminal(*size)
                await pilot.pause()
            assert app.is_running

    asyncio.run(play())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0], "▁▅█"),
        ([2.0, 2.0], "▁▁"),
        ([-1.7e308, 0.0, 1.7e308], "▁▅█"),
        ([0.0, 5e-324], "▁▁"),
        ([0.0, 1e-320], "▁█"),
    ],
)
def test_sparklines_of_extreme_values(values, expected):
    assert spark(values, 10) == expected
