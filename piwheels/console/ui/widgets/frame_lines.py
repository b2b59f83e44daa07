"""The lines around a screen's body: link, stats of the farm, tabs, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from piwheels.console.model.link import LinkState
from piwheels.console.model.slave import State
from piwheels.console.text import clean, number, short_span
from piwheels.console.ui.glyphs import LINKS, STATE_SYMBOLS
from piwheels.console.ui.host import Hosted
from piwheels.console.ui.verbs import SLAVE_VERBS, applies
from piwheels.console.ui.widgets.line_list import style_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime, timedelta

    from piwheels.console.ui.host import Framed

#: The width from which there is room for words.
WIDE: Final = 100


class Part(NamedTuple):
    """A part of a line: text, component class, action of a click, and a key before it.

    If the room is short, parts with the highest *rank* are left out; rank 0 stays.
    """

    text: str
    style: str = ""
    rank: int = 0
    action: str = ""
    key: str = ""

    @property
    def cells(self) -> int:
        """The width, with the gap after it."""
        return cell_len(self.key) + cell_len(self.text) + _APART


_APART: Final = 2


def arrange(left: Sequence[Part], right: Sequence[Part], width: int) -> list[Part]:
    """Return the parts that fit into *width* cells, *right* ones at the end, with blanks."""
    shown = [(part, at >= len(left)) for at, part in enumerate((*left, *right)) if part.text]
    while shown and sum(part.cells for part, _ in shown) > width:
        last = max(range(len(shown)), key=lambda at: (shown[at][0].rank, at))
        if shown[last][0].rank == 0:
            break
        del shown[last]
    gap = max(0, width - sum(part.cells for part, _ in shown))
    line = [Part(" ")]
    for part, is_right in shown:
        if is_right and gap:
            line.append(Part(" " * gap))
            gap = 0
        line += (part, Part(" " * _APART))
    return line


class FrameLine(Hosted, Widget):
    """A line of parts; it is repainted only if they change."""

    SCOPED_CSS = False
    DEFAULT_CSS = "FrameLine { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Part] = []

    @property
    def farm_screen(self) -> Framed:
        """The screen of the line."""
        return cast("Framed", self.screen)

    @property
    def room(self) -> int:
        """The width; that of the terminal before the first layout."""
        return self.size.width or self.app.size.width

    def left(self) -> Iterable[Part]:
        """Yield the parts at the left."""
        return ()

    def right(self) -> Iterable[Part]:
        """Yield the parts at the right."""
        return ()

    def update(self) -> None:
        """Update the line."""
        parts = arrange(tuple(self.left()), tuple(self.right()), self.room)
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    def on_resize(self) -> None:
        """Fit the line to the width."""
        self.update()

    def render_line(self, y: int) -> Strip:
        """Paint the parts."""
        base, width = self.rich_style, self.size.width
        accent = style_of(self, "frame--key")
        segments = []
        for part in self._parts:
            style = base
            if part.style:
                style += style_of(self, part.style)
            if part.action:
                style += Style.from_meta({"@click": part.action})
            if part.key:
                segments.append(Segment(part.key, style + accent))
            segments.append(Segment(clean(part.text), style))
        return Strip(segments).crop_extend(0, width, base)


class StatusLine(FrameLine):
    """The farm, the state of the link, and the rights."""

    _dim = "tone--dim"

    def update(self) -> None:
        """Update the line, with a striking background unless it shows the present."""
        session = self.session
        is_lost, is_past = session.state is LinkState.LOST, session.recording is not None
        self.set_class(is_lost, "-lost")
        self.set_class(is_past, "-recording")
        self._dim = "" if is_lost or is_past else "tone--dim"
        super().update()

    def left(self) -> Iterator[Part]:
        """Yield the farm, the link, and the rights."""
        console, session = self.console, self.session
        wide = self.room >= WIDE
        yield Part("piw-console" if wide else "piw", self._dim, rank=8)
        yield Part(console.farm_name(short=not wide), "frame--name", rank=2)
        glyph, style = LINKS[session.state]
        yield Part(f"{console.symbol(glyph)} {session.link_text()}", style)
        if session.recording is None:
            yield self._rights(wide)
        info = session.farm.info
        if info is None:
            return
        up = short_span(session.farm.uptime(console.now()))
        yield Part(f"master up {up}" if wide else f"up {up}", rank=4)
        if wide:
            yield Part(clean(f"{info.os_name} {info.os_version}"), self._dim, rank=7)
            if session.link.attached:
                yield Part(f"proto {session.level}", self._dim, rank=6)

    def _rights(self, wide: bool) -> Part:
        if self.session.read_only:
            return Part("READ-ONLY", "tone--bad")
        return Part("read-write" if wide else "rw", self._dim, rank=5)

    def right(self) -> Iterator[Part]:
        """Yield the age of the newest message, and the time."""
        console = self.console
        age = self.session.link.age(console.now())
        if age is not None and self.session.recording is None:
            yield Part(f"heard {short_span(age)} ago", self._dim, rank=3)
        yield Part(f"{self.session.shown(console.now()).astimezone():%H:%M:%S}", rank=1)


class KpiLine(FrameLine):
    """The number of slaves in each state (a click filters), the rate, the queue."""

    def left(self) -> Iterator[Part]:
        """Yield the counts, then the stats."""
        console, farm = self.console, self.session.farm
        wide = self.room >= WIDE
        counts = farm.counts()
        total = counts.total() - counts[State.DEAD]
        yield Part(f"{total:,} slave{'' if total == 1 else 's'}", action="app.fleet('')")
        for state in STATE_SYMBOLS:
            if counts[state]:
                glyph, style = console.state_symbol(state)
                word = f" {state.lower()}" if wide else ""
                click = f"app.fleet('state={state.lower()}')"
                yield Part(f"{glyph}{counts[state]:,}{word}", style, _RANKS[state], click)
        if alerts := farm.alerting():
            word = (" alert" if alerts == 1 else " alerts") if wide else ""
            click = "app.fleet('alert')"
            yield Part(f"{console.symbol('▲')}{alerts:,}{word}", "tone--warn", 1, click)
        if unserved := self.session.unserved:
            first = f"no slave for {clean(unserved[0].platform)}/{clean(unserved[0].abi)}"
            more = f" +{len(unserved) - 1}" if len(unserved) > 1 else ""
            text = first + more if wide else f"{len(unserved)} unserved"
            yield Part(f"{console.symbol('▲')}{text}", "tone--warn", 1, "app.targets")
        yield from self._stats(console.now())

    def _stats(self, now: datetime) -> Iterator[Part]:
        farm, symbol = self.session.farm, self.console.symbol
        if not farm.stats:
            return
        last = farm.stats[-1]
        yield Part(f"{symbol('│')} {number(sum(last.builds_last_hour.values()))}/h", rank=4)
        queues = farm.queues(now)
        pending = number(sum(queue.pending for queue in queues))
        more = "+" if any(queue.capped for queue in queues) else ""
        yield Part(f"{symbol('│')} queue {pending}{more}", rank=3, action="app.mode('queue')")
        waiting = [queue.eta for queue in queues if queue.pending]
        if waiting:
            yield Part(_drained(waiting, more), rank=5)
        if self.room >= WIDE and last.disk_size:
            free = 100 * last.disk_free // last.disk_size
            yield Part(f"disk {free}% free", "tone--warn" if free < _LOW_DISK else "", rank=9)


#: The ranks of the counts.
_RANKS: Final = {
    State.IDLE: 8, State.CLEAN: 8, State.SLEEP: 7, State.SEND: 6, State.BUILD: 1,
    State.PAUSE: 2, State.SILENT: 2, State.EXPIRED: 1, State.DEAD: 6,
}  # fmt: skip
#: Free space on the master's disk below which the line warns, in percent.
_LOW_DISK: Final = 10


def _drained(waiting: Sequence[timedelta | None], more: str) -> str:
    """Return when all queues will be empty."""
    known = [eta for eta in waiting if eta is not None]
    if not known:
        return "ETA never"
    least = ">" if more or len(known) < len(waiting) else ""
    return f"ETA {least}{short_span(max(known))}"


class TabLine(FrameLine):
    """The tabs, and on the right the path and the settings of the view."""

    def left(self) -> Iterator[Part]:
        """Yield the tabs."""
        console = self.console
        for at, (mode, title) in enumerate(console.tabs(), 1):
            if mode == console.current_mode:
                yield Part(f"[{at} {title}]", "frame--name", action=f"app.mode('{mode}')")
            else:
                yield Part(f"{at} {title}", "tone--dim", 3, f"app.mode('{mode}')")

    def right(self) -> Iterator[Part]:
        """Yield the settings of the view, and the path of a screen above the tabs."""
        screen = self.farm_screen
        yield Part(clean(screen.view_state()), "tone--dim", rank=2)
        if not screen.title_in_tabs:
            yield Part(clean(screen.crumbs()), rank=1)


class KeyLine(FrameLine):
    """The active keys, those of the focused widget first."""

    def left(self) -> Iterator[Part]:
        """Yield the keys."""
        impossible = self._impossible()
        parts = [
            self._key(active.binding.key, active.binding.description, 3 - group)
            for group, active in self.farm_screen.shown_bindings()
            if active.binding.id not in impossible
        ]
        return iter(parts)

    def _impossible(self) -> set[str]:
        session, targets = self.session, self.farm_screen.targets()
        return {
            f"verb.{verb}"
            for verb in SLAVE_VERBS
            if session.why_not(verb) or not applies(session, verb, targets)
        }

    def _key(self, key: str, description: str, rank: int) -> Part:
        name = self.console.key_name(key)
        return Part(f" {description}", "", rank, f"app.simulate_key('{key}')", name)
