"""The time bar of a recording, above the footer of every screen."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from textual.binding import Binding
from textual.strip import Strip
from textual.widget import Widget

from piwheels.console.model.compare import compare, take_snapshot
from piwheels.console.text import clean
from piwheels.console.ui.cycle import next_choice
from piwheels.console.ui.host import Hosted
from piwheels.console.ui.widgets.line_list import style_of

if TYPE_CHECKING:
    from datetime import datetime

    from textual import events
    from textual.binding import BindingType
    from textual.geometry import Size

    from piwheels.console.model.compare import Snapshot
    from piwheels.console.source import Recording

#: Speeds, as multiples of real time.
SPEEDS: Final = (1.0, 4.0, 16.0, 60.0)
#: The width of everything but the scrubber, and the least width of the scrubber.
_BESIDE: Final = 34
_LEAST: Final = 10


class TimeBar(Hosted, Widget, can_focus=True):
    """A scrubber; ``c`` keeps a moment and compares it with another.

    It is hidden unless the session shows a recording.
    """

    SCOPED_CSS = False
    DEFAULT_CSS = """
    TimeBar { height: auto; display: none; background: $panel; }
    TimeBar.-recording { display: block; }
    TimeBar:focus { background: $primary-background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "play", "play/pause", id="time.play", tooltip="play or pause"),
        Binding("left", "jump(-10)", "10 s back", show=False, id="time.back"),
        Binding("right", "jump(10)", "10 s on", show=False, id="time.on"),
        Binding("shift+left", "jump(-60)", "1 min back", show=False, id="time.far-back"),
        Binding("shift+right", "jump(60)", "1 min on", show=False, id="time.far-on"),
        Binding("comma", "step(-1)", "1 s back, and pause", show=False, id="time.event-back"),
        Binding("full_stop", "step(1)", "1 s on, and pause", show=False, id="time.event-on"),
        Binding("x", "speed", "speed", id="time.speed", tooltip="1, 4, 16, 60 times as fast"),
        Binding("home", "go(0)", "to the start", show=False, id="time.begin"),
        Binding("end", "go(1)", "to the end", show=False, id="time.end"),
        Binding(
            "c",
            "compare",
            "compare",
            id="time.compare",
            tooltip="keep this moment, then compare it with another",
        ),
        Binding("escape", "leave", "back", id="time.leave", tooltip="leave the time bar"),
    ]

    def __init__(self) -> None:
        super().__init__(id="time-bar")
        self._kept: Snapshot | None = None
        self._found: list[str] = []
        self._drawn: object = None

    def on_mount(self) -> None:
        """Show the bar if there is a recording."""
        self.set_class(self.session.recording is not None, "-recording")
        if self.session.recording is not None:
            self.set_interval(0.25, self._follow)

    def _follow(self) -> None:
        recording = self.session.recording
        assert recording is not None  # noqa: S101
        drawn = (recording.position, recording.playing, recording.speed)
        if drawn != self._drawn:
            self._drawn = drawn
            self.refresh()

    # Painting -----------------------------------------------------------------------------

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the height: the scrubber, and the differences above it."""
        return 1 + len(self._found)

    def render_line(self, y: int) -> Strip:
        """Paint the differences, and below them the scrubber."""
        base, width = self.rich_style, self.size.width
        if y < len(self._found):
            return Strip([Segment(f" {clean(self._found[y])}", base)]).crop_extend(0, width, base)
        recording = self.session.recording
        if recording is None:
            return Strip.blank(width, base)
        accent = base + style_of(self, "tone--accent")
        dim = base + style_of(self, "tone--dim")
        console = self.console
        plain = console.ascii
        mark = (">" if plain else "▶") if recording.playing else console.symbol("‖")
        line = scrubber(recording, max(_LEAST, width - _BESIDE), ascii_only=plain)
        kept = f"  c: {_clock(self._kept.at)} –" if self._kept else "  c compare"
        text = f" {_clock(recording.position)} {'x' if plain else '×'}{recording.speed:g}"
        segments = [Segment(f" {mark} ", base), Segment(line, accent), Segment(text, base)]
        segments.append(Segment(kept.replace("–", "-") if plain else kept, dim))
        return Strip(segments).crop_extend(0, width, base)

    # Keys and mouse ----------------------------------------------------------------------------

    def _seek(self, recording: Recording, at: datetime) -> None:
        self.session.seek(max(recording.begin, min(at, recording.end)))
        self.refresh()

    def action_play(self) -> None:
        """Play or pause; at the end, start again."""
        if (recording := self.session.recording) is None:
            return
        if recording.playing:
            recording.pause()
        else:
            if recording.position >= recording.end:
                self._seek(recording, recording.begin)
            recording.play()
        self.refresh()

    def action_jump(self, seconds: int) -> None:
        """Move by *seconds*."""
        if (recording := self.session.recording) is not None:
            self._seek(recording, recording.position + timedelta(seconds=seconds))

    def action_step(self, by: int) -> None:
        """Pause, and move by a second."""
        if (recording := self.session.recording) is not None:
            recording.pause()
            self._seek(recording, recording.position + timedelta(seconds=by))

    def action_speed(self) -> None:
        """Set the next speed; the slowest follows the fastest."""
        if (recording := self.session.recording) is not None:
            known = recording.speed in SPEEDS
            recording.speed = next_choice(recording.speed, SPEEDS) if known else SPEEDS[0]
            self.refresh()

    def action_go(self, share: int) -> None:
        """Move to the start (0) or the end (1)."""
        if (recording := self.session.recording) is not None:
            self._seek(recording, recording.end if share else recording.begin)

    def action_compare(self) -> None:
        """Keep this moment, or show the differences from the kept one."""
        if (recording := self.session.recording) is None:
            return
        here = take_snapshot(self.session.farm, recording.position)
        if self._kept is None:
            self._kept, self._found = here, []
        else:
            first, last = sorted((self._kept.at, here.at))
            head = f"between {_clock(first)} and {_clock(last)}:"
            self._found = [head, *(f"  {line}" for line in compare(self._kept, here))]
            self._kept = None
        self.refresh(layout=True)

    def action_leave(self) -> None:
        """Clear the differences, or return the focus to the screen."""
        if self._found or self._kept:
            self._found, self._kept = [], None
            self.refresh(layout=True)
        else:
            self.screen.focus_next()

    def on_click(self, event: events.Click) -> None:
        """Move to the moment that was clicked."""
        recording = self.session.recording
        offset = event.get_content_offset(self)
        if recording is None or offset is None or offset.y < len(self._found):
            return
        room = max(_LEAST, self.size.width - _BESIDE) - 1
        share = max(0.0, min(1.0, (offset.x - 3) / room))
        self._seek(recording, recording.begin + (recording.end - recording.begin) * share)


def scrubber(recording: Recording, width: int, *, ascii_only: bool = False) -> str:
    """Return the recording as a line of *width* cells, with a dot at its position."""
    left, line, dot, right = "|-O|" if ascii_only else "├─●┤"
    whole = recording.end - recording.begin
    share = (recording.position - recording.begin) / whole if whole else 0
    inside = width - 2
    place = round(max(0.0, min(1.0, share)) * (inside - 1))
    return left + line * place + dot + line * (inside - 1 - place) + right


def _clock(at: datetime) -> str:
    return f"{at.astimezone():%H:%M:%S}"
