"""The Fleet screen: filter, highlight, sorting, marks, freezing, groups, details."""

import asyncio
from datetime import timedelta

import pytest
from textual.widgets import Static

from console_stage import NOW, Stage, master_info, slave_info, slave_stats
from piwheels.console.model import events
from piwheels.console.model.commands import Verb
from piwheels.console.model.fleet_view import BoardKey
from piwheels.console.model.link import LinkState
from piwheels.console.ui.app import ConsoleApp
from piwheels.console.ui.screens.fleet import FleetScreen
from piwheels.console.ui.widgets.panel import Panel
from piwheels.core.codec import NoData
from piwheels.core.protocols import Job, Lane, SlaveEvent

ABIS = ("cp39", "cp311", "cp313")


@pytest.fixture(autouse=True)
def _times_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


class Show:
    """The console on its Fleet screen, with a few slaves and a clock moved by hand."""

    def __init__(self, slaves=12, labels=None):
        self.stage = Stage()
        labels = labels or [f"rack{1 + n // 5}-{n % 5:02}" for n in range(slaves)]
        for number, label in enumerate(labels, 1):
            self.join(number, label)
        self.stage.pump()
        self.app = ConsoleApp(self.stage.session, clock=self.stage.clock)
        self.opened = []
        self.app.open_slave = lambda number: self.opened.append(("slave", number))
        self.app.open_log = lambda number, _build=None: self.opened.append(("log", number))

    def join(self, number, label):
        say, now = self.stage.master.say, self.stage.now
        say(SlaveEvent(number, now, "HELLO", slave_info(label, ABIS[number % 3])))
        say(SlaveEvent(number, now, "STATS", slave_stats(now, load=number / 10)))
        if number % 4:
            say(SlaveEvent(number, now, "BUILD", Job("numpy", f"2.3.{number}")))
        else:
            say(SlaveEvent(number, now, "SLEEP", False))

    def slave_stats(self, number, **values):
        at = self.stage.now
        self.stage.master.say(SlaveEvent(number, at, "STATS", slave_stats(at, **values)))

    async def wait(self, seconds=0.0):
        """Let time pass, and show the changes."""
        self.stage.now += timedelta(seconds=seconds)
        self.stage.master.now = self.stage.now
        session = self.stage.session
        session.tick(self.stage.now)
        self.stage.pump()
        self.app.screen.apply(session.take_changes())
        self.app.screen.tick()
        await self.pilot.pause()

    async def press(self, *keys):
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text):
        await self.press(*("space" if char == " " else char for char in text))

    @property
    def screen(self):
        return self.app.screen

    @property
    def table(self):
        return self.app.screen.table

    @property
    def keys(self):
        return self.table.view.keys

    @property
    def lines(self):
        height = self.table.size.height
        return ["".join(part.text for part in self.table.render_line(y)) for y in range(height)]

    def row(self, number):
        return next(line for line in self.lines if f" {number} rack" in line)


def play(story, size=(120, 40), **how):
    async def run():
        show = Show(**how)
        async with show.app.run_test(size=size) as show.pilot:
            await show.pilot.pause()
            assert isinstance(show.app.screen, FleetScreen)
            await show.wait(1)
            await story(show)

    asyncio.run(run())


# Filter and highlight -----------------------------------------------------------------------------


def test_a_filter_applies_while_it_is_typed():
    async def story(show):
        await show.press("slash")
        await show.type("abi=cp39 id>3")
        assert sorted(show.keys) == [6, 9, 12]
        await show.press("enter")
        assert sorted(show.keys) == [6, 9, 12]
        assert "/abi=cp39 id>3 (3)" in show.screen.view_state()
        await show.press("escape")
        assert len(show.keys) == 12

    play(story)


def test_the_last_valid_filter_stays():
    async def story(show):
        assert show.screen.find("abi=cp39") == ""
        assert show.screen.find("abi=cp39 speed>3").startswith("column 10: no field speed")
        assert sorted(show.keys) == [3, 6, 9, 12]
        assert "/abi=cp39 (4)" in show.screen.view_state()

    play(story)


def test_the_filter_applies_to_new_slaves_and_changes():
    async def story(show):
        show.screen.find("load>5")
        assert show.keys == []
        assert "no slave matches" in show.lines[1]
        show.slave_stats(7, load=6.0)
        await show.wait(4)
        assert show.keys == [7]

    play(story)


def test_the_highlight_hides_nothing():
    async def story(show):
        await show.press("ampersand")
        await show.type("abi=cp39")
        await show.press("enter")
        assert len(show.keys) == 12
        found = []
        for key in ("n", "n", "n", "N"):
            await show.press(key)
            found.append(show.table.cursor)
        assert set(found) <= {3, 6, 9, 12}
        assert found[3] == found[1]
        await show.press("escape")
        await show.press("n")
        assert show.table.cursor == found[3]

    play(story)


def test_cancelling_the_highlight_keeps_the_filter():
    async def story(show):
        show.screen.find("abi=cp39")
        await show.press("ampersand")
        await show.type("load>1")
        await show.press("escape")
        assert sorted(show.keys) == [3, 6, 9, 12]
        assert not show.table.highlight.tests

    play(story)


# Order --------------------------------------------------------------------------------------------


def test_cursor_and_marks_follow_their_rows():
    async def story(show):
        show.screen._sort("load")
        assert show.keys[0] == 12
        await show.press("g", "space")
        assert (show.table.cursor, show.table.marks) == (11, {12})
        show.slave_stats(11, load=0.01)
        show.slave_stats(12, load=0.02)
        await show.wait(1)
        assert show.keys[:2] == [12, 11]  # not so soon after a key
        await show.wait(4)
        assert show.keys[-2:] == [12, 11]
        assert show.table.cursor == 11
        assert show.row(11).startswith("▌")
        assert show.row(12).startswith(" *")

    play(story)


def test_sorting_by_keys():
    async def story(show):
        for _ in range(3):
            await show.press("o")
        assert show.table.view.sort == "id"
        assert show.keys == list(range(1, 13))
        await show.press("O")
        assert show.keys == list(range(12, 0, -1))
        assert "sort: id↑" in show.screen.view_state()

    play(story)


def test_a_frozen_table_does_not_change():
    async def story(show):
        before = show.row(5)
        await show.press("f")
        show.slave_stats(5, load=9.9)
        show.join(99, "rack9-99")
        await show.wait(30)
        assert show.row(5) == before
        assert show.keys[-1] == 99
        assert "FROZEN" in show.screen.view_state()
        await show.press("f")
        await show.wait(2)
        assert "9.90" in show.row(5)

    play(story)


def test_slaves_that_joined_while_hidden_are_shown():
    async def story(show):
        await show.press("3")
        show.join(50, "rack9-50")
        await show.wait()
        await show.press("1")
        assert 50 in show.keys

    play(story)


# Marks and targets --------------------------------------------------------------------------------


def test_targets_are_the_marked_slaves_or_the_one_at_the_cursor():
    async def story(show):
        await show.press("g")
        assert show.screen.targets() == [show.keys[0]]
        await show.press("space", "space")
        assert show.screen.targets() == sorted(show.keys[:2])
        show.screen.find(f"id={show.keys[5]}")
        assert len(show.screen.targets()) == 2
        assert "2 marked (2 hidden)" in show.screen.view_state()
        await show.press("escape", "escape")
        assert show.screen.targets() == [show.table.cursor]

    play(story)


def test_a_marked_slave_that_left_is_no_target():
    async def story(show):
        await show.press("asterisk")
        show.stage.send(3, "DIE", NoData)
        for _ in range(5):  # its row stays for half a minute if the master sends messages
            show.slave_stats(4)
            await show.wait(10)
        assert 3 not in show.screen.targets()
        assert len(show.screen.targets()) == 11

    play(story)


def test_a_new_master_clears_marks_and_rows():
    async def story(show):
        await show.press("asterisk")
        show.stage.master.say(master_info(started=NOW))
        show.join(5, "rack7-05")
        await show.wait(0.1)
        assert show.table.marks == set()
        assert show.keys == [5]
        assert "rack7-05" in show.row(5)

    play(story)


def test_a_new_master_clears_marks_while_hidden():
    async def story(show):
        await show.press("asterisk", "3")
        show.stage.master.say(master_info(started=NOW))
        show.join(5, "rack7-05")
        await show.wait(0.1)
        await show.press("1")
        assert show.table.marks == set()
        assert show.keys == [5]

    play(story)


def test_groups():
    async def story(show):
        assert show.screen.group("colour").startswith("cannot group by colour")
        assert show.screen.group("rack") == ""
        assert show.keys == ["rack1", "rack2", "rack3"]
        await show.press("g")
        assert sorted(show.screen.targets()) == [1, 2, 3, 4, 5]
        about = show.screen.query_one(Panel).render_line(0).text
        assert about.strip() == "5 slaves: 4 build, 1 sleep"
        await show.press("enter")
        assert show.keys[0] == "rack1"
        assert sorted(show.keys[1:6]) == [1, 2, 3, 4, 5]
        assert "by rack" in show.screen.view_state()
        await show.press("escape")
        assert len(show.keys) == 12

    play(story)


# The slave at the cursor --------------------------------------------------------------------------


def test_enter_opens_a_slave():
    async def story(show):
        await show.press("g", "enter", "l")
        assert show.opened == [("slave", show.keys[0]), ("log", show.keys[0])]

    play(story)


def test_the_panel_of_details(snapshot):
    async def story(show):
        stage = show.stage
        stage.end(slave_id=2, package="numpy", version="2.3.2", took=timedelta(minutes=3))
        stage.build(slave_id=2)
        stage.session.command(Verb.SKIP, [2])
        await show.wait(4)
        show.table.move_to(2)
        await show.pilot.pause()
        panel = show.screen.query_one(Panel)
        assert panel.display
        lines = ["".join(part.text for part in panel.render_line(y)).rstrip() for y in range(6)]
        assert "\n".join([panel.border_title, *lines]) == snapshot

    play(story, labels=["rack1-01", "pi4-rack1-03"])


@pytest.mark.parametrize(("size", "there"), [((120, 40), True), ((119, 40), False),
                                             ((120, 39), False), ((200, 50), True)])  # fmt: skip
def test_the_panel_is_shown_if_there_is_room(size, there):
    async def story(show):
        assert show.screen.query_one(Panel).display is there

    play(story, size=size)


def test_hostile_labels_are_shown_literally_in_the_panel():
    async def story(show):
        show.table.move_to(1)
        await show.pilot.pause()
        assert "[/red]" in str(show.screen.query_one(Panel)._border_title)
        show.table.move_to(2)
        await show.pilot.pause()
        title = str(show.screen.query_one(Panel)._border_title)
        assert "\x1b" not in title
        assert "\u202e" not in title

    play(story, labels=["a[/red][b]", "\x1b[31m\u202ex"])


# Outdated data ------------------------------------------------------------------------------------


def test_outdated_data_is_dimmed():
    async def story(show):
        assert not show.table.has_class("-stale")
        show.stage.master.say(events.WireDown("status"))
        show.stage.master.say(events.WireDown("control"))
        await show.wait(1)
        await show.wait(1)
        assert show.stage.session.state is LinkState.LOST
        assert show.table.has_class("-stale")
        assert len(show.keys) == 12

    play(story)


# Boards -------------------------------------------------------------------------------------------


def board_show(story, size=(120, 40)):
    """Show twelve slaves, of which 2, 5 and 7 are the lanes of a board."""

    async def with_board(show):
        for lane, number in enumerate((2, 5, 7), 1):
            show.stage.master.say(
                SlaveEvent(number, NOW, "HELLO", slave_info("duo", ABIS[lane % 3]))
            )
            show.stage.master.say(SlaveEvent(number, NOW, "STATS", slave_stats(NOW, load=1.25)))
            show.stage.master.say(SlaveEvent(number, NOW, "BUILD", Job("lxml", f"6.0.{lane}")))
            show.stage.master.say(Lane(number, "host", lane))
        await show.wait(5)
        show.table.move_to(BoardKey("host"))
        await show.pilot.pause()
        await story(show)

    play(with_board, size=size)


@pytest.mark.parametrize("size", [(56, 20), (80, 24), (120, 40), (200, 50)])
def test_a_board_with_its_lanes(snapshot, size):
    async def story(show):
        place = show.keys.index(BoardKey("host"))
        shown = show.lines[: place + 4]
        await show.press("b")
        assert [shown[0], *shown[-4:], show.lines[place + 1]] == snapshot

    board_show(story, size)


def test_commands_apply_to_all_lanes_of_a_board():
    async def story(show):
        assert show.screen.targets() == [2, 5, 7]
        await show.press("space")
        assert show.table.marks == {2, 5, 7}
        await show.press("p")
        question = "".join(str(one.render()) for one in show.app.screen.query(Static))
        assert "#2 duo/1\n#5 duo/2\n#7 duo/3" in question
        await show.press("y")
        assert ("SLEEP", [2, 5, 7]) in show.stage.master.asked

    board_show(story)


def test_a_board_can_be_folded():
    async def story(show):
        await show.press("j", "b")
        assert show.table.cursor == BoardKey("host"), "the row of the lane is gone"
        assert 2 not in show.keys
        assert show.screen.targets() == [2, 5, 7]
        assert show.screen.rows()[1][0][0] == "BUILD"
        assert len(show.screen.rows()[1]) == 12
        await show.press("enter")
        assert 2 in show.keys
        await show.press("B")
        assert 2 not in show.keys
        await show.press("B")
        assert 2 in show.keys

    board_show(story)


def test_keys_for_boards_are_offered_only_if_there_are_some():
    async def without(show):
        assert not {"b", "B"} & show.screen.active_bindings.keys()
        await show.press("b", "B")
        assert len(show.keys) == 12

    async def with_one(show):
        assert {"b", "B"} <= show.screen.active_bindings.keys()

    play(without)
    board_show(with_one)


def test_the_panel_describes_a_board(snapshot):
    async def story(show):
        panel = show.screen.query_one(Panel)
        lines = ["".join(part.text for part in panel.render_line(y)).rstrip() for y in range(6)]
        assert "\n".join([str(panel.border_title), *lines]) == snapshot

    board_show(story)
