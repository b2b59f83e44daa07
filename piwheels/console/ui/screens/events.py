"""The Events screen: the journal, newest on top."""

from __future__ import annotations

import textwrap
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.binding import Binding

from piwheels.console.model.journal import Entry, Kind
from piwheels.console.ui.cycle import next_choice
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.console.ui.widgets.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.model.farm import Changes
    from piwheels.console.ui.widgets.line_list import Cell


class Kinds(Enum):
    """The selections of kinds, in the sequence in which ``e`` cycles through them."""

    ALL = frozenset(Kind)
    CMD = frozenset({Kind.COMMAND, Kind.ACK})
    BUILD = frozenset({Kind.DONE, Kind.FAIL, Kind.PUT_OFF})
    WARN = frozenset({Kind.WARN, Kind.CRITICAL, Kind.FAIL})
    FARM = frozenset({Kind.JOIN, Kind.LEFT, Kind.MASTER})
    LINK = frozenset({Kind.LINK})


class Shown(NamedTuple):
    """An entry, its number in the journal, and its time by the wall clock."""

    number: int
    entry: Entry
    at: datetime


_TONES: Final[dict[Kind, str]] = {
    Kind.COMMAND: "tone--accent",
    Kind.ACK: "tone--accent",
    Kind.DONE: "tone--good",
    Kind.FAIL: "tone--warn",
    Kind.PUT_OFF: "tone--accent",
    Kind.WARN: "tone--warn",
    Kind.CRITICAL: "tone--bad",
}


def _slave(shown: Shown) -> Cell:
    entry = shown.entry
    if entry.slave_id is None:
        return "-", "tone--dim"
    return f"#{entry.slave_id}"


_COLUMNS: Final[tuple[Column[Shown], ...]] = (
    Column("TIME", 8, lambda shown: f"{shown.at.astimezone():%H:%M:%S}"),
    Column("KIND", 4, lambda shown: (shown.entry.kind, _TONES.get(shown.entry.kind, ""))),
    Column("SLAVE", 6, _slave),
    Column("LABEL", 14, lambda shown: shown.entry.label, least=100),
    Column("EVENT", 30, lambda shown: shown.entry.what),
    Column("DETAIL", 0, lambda shown: (shown.entry.detail, "tone--dim")),
)


class EventsScreen(FarmScreen):
    """The journal; ``F`` follows the newest entry, which is always on top."""

    title_in_tabs = "Events"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "kinds", "kind", id="events.kinds", tooltip="show other kinds of entries"),
        Binding("F", "follow", "follow", id="events.follow", tooltip="follow the newest, or stay"),
        Binding("m", "read", "mark read", id="events.read", tooltip="mark all as read"),
        Binding("escape", "clear", "all kinds, and no search", show=False, id="events.clear"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._kinds = Kinds.ALL
        self._text = ""
        self._follow = True
        #: The number of entries when the operator marked them as read.
        self._read = 0
        self._list: LineList[Shown] = LineList(
            _COLUMNS, lambda shown: shown.number, empty="nothing has happened yet", id="journal"
        )
        self._whole = Panel(id="entry")
        self._foot = Panel(id="kinds")

    def compose_body(self) -> ComposeResult:
        """Yield the journal, the entry at the cursor in full, and the selection."""
        yield self._list
        yield self._whole
        yield self._foot

    # What it shows ----------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Show new entries."""
        if changes.journal:
            self.show_all()

    def show_all(self) -> None:
        """Show the selected entries."""
        self._list.show(self._chosen(), follow=self._follow)
        self._show_entry()

    def _chosen(self) -> list[Shown]:
        numbered: Iterable[Shown] = (
            Shown(number, entry, self.session.shown(entry.at))
            for number, entry in reversed(self.session.journal.since(0))
        )
        kinds, text = self._kinds.value, self._text
        if self._kinds is not Kinds.ALL:
            numbered = (shown for shown in numbered if shown.entry.kind in kinds)
        if text:
            numbered = (shown for shown in numbered if _holds(shown.entry, text))
        return list(numbered)

    def _show_entry(self) -> None:
        item = self._list.item
        self._whole.show(
            _in_full(item.entry, item.at, max(20, self.size.width - 2)) if item else []
        )
        chosen = [
            cell
            for kinds in Kinds
            for cell in (
                " ",
                (f"[{kinds.name.lower()}]", "tone--accent")
                if kinds is self._kinds
                else (kinds.name.lower(), "tone--dim"),
            )
        ]
        follow = f"{self.console.symbol('●')} FOLLOW" if self._follow else "F follows the newest"
        search = f"   / {self._text}" if self._text else ""
        self._foot.show([[" kind:", *chosen, f"   {follow}{search}"]])

    def view_state(self) -> str:
        """Return the number of entries, and of new ones."""
        journal = self.session.journal
        new = journal.count - self._read
        kept = f"{len(journal.entries):,} kept"
        return f"{new:,} new, {kept}" if new else kept

    # Keys and mouse ----------------------------------------------------------------------------

    def find(self, text: str) -> str:
        """Show only entries that contain *text*, ignoring case."""
        self._text = text.casefold()
        self.show_all()
        return ""

    def targets(self) -> list[int]:
        """Return the slave that the entry at the cursor is about."""
        item = self._list.item
        slave_id = item.entry.slave_id if item else None
        return [slave_id] if slave_id in self.session.farm.slaves else []

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the entries that are shown."""
        return self._list.table()

    def action_kinds(self) -> None:
        """Show other kinds of entries."""
        self._kinds = next_choice(self._kinds, Kinds)
        self.show_all()

    def action_follow(self) -> None:
        """Follow the newest entry, or stay."""
        self._follow = not self._follow
        self.show_all()

    def action_read(self) -> None:
        """Mark all entries as read."""
        self._read = self.session.journal.count
        self.show_all()

    def action_clear(self) -> None:
        """Show everything again."""
        self._kinds, self._text = Kinds.ALL, ""
        self.show_all()

    def on_line_list_moved(self) -> None:
        """Stay with an entry that the operator moved to; follow again from the top."""
        self._follow = self._list.at_top
        self._show_entry()

    def on_line_list_opened(self) -> None:
        """Open the slave of the entry, if it still exists."""
        for slave_id in self.targets():
            self.console.open_slave(slave_id)
            return
        item = self._list.item
        about = item.entry.slave_id if item else None
        gone = "this entry is about no slave" if about is None else f"#{about} is gone"
        self.console.flash(gone, error=True)


def _holds(entry: Entry, text: str) -> bool:
    where = f"{entry.kind}\n#{entry.slave_id}\n{entry.label}\n{entry.what}\n{entry.detail}"
    return text in where.casefold()


def _in_full(entry: Entry, at: datetime, width: int) -> list[list[Cell]]:
    """Return *entry* in lines of *width* cells: a long detail (a hex dump) is wrapped."""
    who = f"#{entry.slave_id} {entry.label}" if entry.slave_id is not None else entry.label
    head: list[Cell] = [
        (f"{at.astimezone():%Y-%m-%d %H:%M:%S} {entry.kind} ", "tone--dim"),
        f"{who}  {entry.what}".strip(),
    ]
    lines = [part for line in entry.detail.splitlines() for part in textwrap.wrap(line, width)]
    rest: list[list[Cell]] = [[line] for line in lines]
    return [head, *rest]
