"""Draws diagrams as SVG in pure Python: boxes, lines and monospaced text, in light and dark.

The width of a text follows from its number of characters, so a layout is plain arithmetic and looks
the same everywhere. A picture has its own background, so that it is readable on any page.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CHAR, LINE = 7.83, 18  # the width of a character and the height of a line at 13 px
PAD = 20

_STYLE = """
text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328;
  paint-order: stroke; stroke: #fff; stroke-width: 5px; stroke-linejoin: round }
.paper { fill: #fff; stroke: #d1d9e0 }
.box { fill: #eef4fb; stroke: #3b6ea5; stroke-width: 1.3 }
.boxed { stroke: none }
.line { fill: none; stroke: #3b6ea5; stroke-width: 1.5 }
.faint { fill: none; stroke: #c8d1da; stroke-width: 1 }
.dash { stroke-dasharray: 5 4 }
.mark { fill: #3b6ea5; stroke: #3b6ea5 }
.open { fill: #fff; stroke: #3b6ea5; stroke-width: 1.8 }
.note { fill: #59636e }
.head { font-weight: bold }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; stroke: #12171e }
  .paper { fill: #12171e; stroke: #3d444d }
  .box { fill: #1b2b40; stroke: #79b0ea }
  .line { stroke: #79b0ea }
  .faint { stroke: #333b45 }
  .mark { fill: #79b0ea; stroke: #79b0ea }
  .open { fill: #12171e; stroke: #79b0ea }
  .note { fill: #9198a1 }
}
"""


def width(text: str) -> float:
    """Return the width of *text*."""
    return len(text) * CHAR


class Picture:
    """A drawing in progress."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def add(self, kind: str, cls: str, text: str | None = None, **attributes: object) -> None:
        """Add an element with a class and attributes (an underscore in a name becomes a hyphen)."""
        shown = {
            name.replace("_", "-"): f"{value:.1f}".removesuffix(".0")
            if isinstance(value, float)
            else value
            for name, value in attributes.items()
        }
        inner = "".join(f' {name}="{escape(str(value))}"' for name, value in shown.items())
        end = "/>" if text is None else f">{escape(text)}</{kind}>"
        self._parts.append(f'<{kind} class="{cls}"{inner}{end}')

    def text(self, x: float, y: float, text: str, anchor: str = "middle", cls: str = "") -> None:
        """Draw *text* with its baseline at *y*."""
        self.add("text", cls, text, x=x, y=y, text_anchor=anchor)

    def path(self, steps: str, cls: str = "line", *, arrow: bool = True) -> None:
        """Draw a path with an arrow at its end."""
        self.add("path", cls, d=steps, **({"marker_end": "url(#arrow)"} if arrow else {}))

    def box(self, x: float, y: float, w: float, h: float, lines: Sequence[str]) -> None:
        """Draw a box around *lines*."""
        self.add("rect", "box", x=x, y=y, width=w, height=h, rx=6)
        for number, line in enumerate(lines):
            top = y + h / 2 + LINE * (number - (len(lines) - 1) / 2) + 4.5
            self.text(x + w / 2, top, line, cls="boxed")

    def svg(self, w: float, h: float) -> str:
        """Return the drawing as SVG with width *w* and height *h*."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{w:.0f}" height="{h:.0f}"'
            f' viewBox="0 0 {w:.0f} {h:.0f}">\n<title>{escape(self.title)}</title>\n'
            f"<style>{_STYLE}</style>\n"
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
            ' markerHeight="8" orient="auto"><path class="mark" d="M0 1 9 5 0 9z"/></marker></defs>'
        )
        paper = (
            f'<rect class="paper" x=".5" y=".5" width="{w - 1:.0f}" height="{h - 1:.0f}" rx="8"/>'
        )
        return "\n".join([head, paper, *self._parts, "</svg>", ""])


class Edge(NamedTuple):
    """A transition between two states, by their numbers."""

    begin: int
    end: int
    label: str


def states(
    title: str, boxes: Sequence[Sequence[str]], edges: Sequence[Edge], notes: Sequence[str]
) -> str:
    """Draw the states in *boxes* in a row, and the transitions in *edges*.

    A transition to the next state is a straight line, one to the same state a loop above, all
    others pass below. A state without incoming transitions, except the first, gets an arrow.
    """
    picture = Picture(title)
    wide = [max(map(width, box)) + 2 * PAD for box in boxes]
    high = max(map(len, boxes)) * LINE + 2 * PAD - 8
    ahead = {(edge.begin, edge.end): edge.label for edge in edges}
    gaps = [width(ahead.get(pair, "")) + 36 for pair in pairwise(range(len(boxes)))]
    for begin, end, label in edges:
        if begin == end + 1:  # a line back to the previous box needs space below
            room = width(label) + 60 - (wide[begin] + wide[end]) / 2
            gaps[end] = max(gaps[end], room)
    loops = [edge for edge in edges if edge.begin == edge.end]
    below = sorted(
        (edge for edge in edges if edge.end not in (edge.begin, edge.begin + 1)),
        key=lambda edge: abs(edge.begin - edge.end),
    )
    top = PAD + (58 if loops else 0)
    left = [PAD + sum(wide[:number]) + sum(gaps[:number]) for number in range(len(boxes))]
    middle = top + high / 2
    for number, lines in enumerate(boxes):
        picture.box(left[number], top, wide[number], high, lines)
        if number and all(edge.end != number or edge.begin == number for edge in edges):
            x = left[number]
            picture.path(f"M{x - 34:.1f} {middle:.1f}H{x:.1f}", "line dash")
    for number, gap in enumerate(gaps):
        if (number, number + 1) in ahead:
            x = left[number] + wide[number]
            picture.path(f"M{x:.1f} {middle:.1f}h{gap:.1f}")
            picture.text(x + gap / 2, middle - 8, ahead[number, number + 1])
    for edge in loops:
        x = left[edge.begin] + wide[edge.begin] / 2
        picture.path(f"M{x - 18:.1f} {top:.1f}c-14 -40 50 -40 36 0")
        picture.text(x, top - 36, edge.label)
    for level, edge in enumerate(below):
        from_x = left[edge.begin] + wide[edge.begin] / 2 + (0 if level else -14)
        to_x = left[edge.end] + wide[edge.end] / 2 + 14 * (1 - 2 * level)
        bottom, depth = top + high, 34.0 * (level + 1)
        picture.path(
            f"M{from_x:.1f} {bottom:.1f}v{depth - 8:.1f}q0 8 -8 8H{to_x + 8:.1f}q-8 0 -8 -8"
            f"V{bottom:.1f}"
        )
        picture.text((from_x + to_x) / 2, bottom + depth - 6, edge.label)
    y = top + high + 34 * len(below) + 34
    for note in notes:
        picture.text(PAD, y, note, "start", "note")
        y += LINE
    whole = max([left[-1] + wide[-1], *(PAD + width(note) for note in notes)])
    return picture.svg(whole + PAD, y)


class Step(NamedTuple):
    """A message between two actors; an empty *end* makes a note on the line of *begin*."""

    begin: str
    end: str
    text: str


def sequence(title: str, actors: Sequence[str], steps: Sequence[Step]) -> str:
    """Draw a sequence diagram, from top to bottom."""
    picture = Picture(title)
    gaps = []
    for number, (one, other) in enumerate(pairwise(actors)):
        between = (
            step.text
            for step in steps
            if step.end and min(map(actors.index, step[:2])) == number  # the column of its text
        )
        gaps.append(max([*map(width, between), width(one) / 2 + width(other) / 2 + 30]) + 44)
    first = PAD + width(actors[0]) / 2 + 12
    xs = {actor: first + sum(gaps[:number]) for number, actor in enumerate(actors)}
    bottom = 78 + 30 * len(steps)
    for actor, x in xs.items():
        picture.path(f"M{x:.1f} 48V{bottom:.1f}", "faint", arrow=False)
        half = width(actor) / 2 + 12
        picture.box(x - half, 18, 2 * half, 32, [actor])
    whole = xs[actors[-1]] + width(actors[-1]) / 2 + 12 + PAD
    y = 84.0
    for step in steps:
        if step.end:
            begin, end = xs[step.begin], xs[step.end]
            picture.path(f"M{begin:.1f} {y:.1f}H{end:.1f}")
            nearest = [x for x in xs.values() if min(begin, end) <= x <= max(begin, end)]
            middle = (nearest[0] + nearest[1]) / 2
            picture.text(middle, y - 6, step.text)
        else:
            picture.text(xs[step.begin] + 10, y - 3, step.text, "start", "note")
            whole = max(whole, xs[step.begin] + 10 + width(step.text) + PAD)
        y += 30
    return picture.svg(whole, bottom + PAD)


class Row(NamedTuple):
    """A wire: its name, the participant that binds it, and those that connect to it."""

    name: str
    binds: str
    connects: Sequence[str]


def board(
    title: str, groups: Mapping[str, Sequence[str]], rows: Sequence[Row], notes: Iterable[str]
) -> str:
    """Draw a column for each participant (in named *groups*), and a line for each wire."""
    picture = Picture(title)
    step, pitch = 44.0, 26.0
    begin = PAD + max(width(row.name) for row in rows) + 30
    xs: dict[str, float] = {}
    x = begin
    for members in groups.values():
        for member in members:
            xs[member] = x
            x += step
        x += 14
    # Names are rotated by 45 degrees
    rise = max(map(width, xs)) * 0.71
    top = PAD + LINE + rise + 26
    bottom = top + pitch * len(rows)
    for name, members in groups.items():
        picture.text(xs[members[0]] - 8, PAD + 10, name, "start", "note")
    for member, at in xs.items():
        picture.path(f"M{at:.1f} {top - 18:.1f}V{bottom - 8:.1f}", "faint", arrow=False)
        picture.add(
            "text",
            "head",
            member,
            x=0,
            y=0,
            transform=f"translate({at + 4:.1f} {top - 24:.1f}) rotate(-45)",
        )
    for number, row in enumerate(rows):
        y = top + pitch * number
        picture.text(PAD, y + 4.5, row.name, "start")
        ends = [xs[name] for name in (row.binds, *row.connects)]
        picture.path(f"M{min(ends):.1f} {y:.1f}H{max(ends):.1f}", arrow=False)
        for name in row.connects:
            picture.add("circle", "open", cx=xs[name], cy=y, r=5)
        picture.add("rect", "mark", x=xs[row.binds] - 6, y=y - 6, width=12, height=12, rx=2)
    y = bottom + 14
    for note in notes:
        picture.text(PAD, y, note, "start", "note")
        y += LINE
    return picture.svg(max(xs.values()) + rise + PAD, y)
