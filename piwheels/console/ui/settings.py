"""Commands that change the operator's settings: theme, rate, confirmation, named filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piwheels.console.ui.prefs import RATES

if TYPE_CHECKING:
    from piwheels.console.ui.host import CommandHost


def _keep(console: CommandHost, what: str) -> None:
    console.flash(what)
    if wrong := console.prefs.save():
        console.flash(wrong, error=True)


def choose_theme(console: CommandHost, name: str) -> None:
    """Switch to another theme, and keep it."""
    console.prefs.theme = name
    console.use_theme(name)
    _keep(console, f"theme: {name}")


def set_rate(console: CommandHost, text: str) -> None:
    """Set the refresh rate, and keep it."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not RATES[0] <= rate <= RATES[-1]:
        console.flash(f"a rate is a number from {RATES[0]:g} to {RATES[-1]:g}", error=True)
        return
    console.prefs.rate = rate
    console.use_rate(rate)
    _keep(console, f"{rate:g} refreshes per second")


def step_rate(console: CommandHost, by: int) -> None:
    """Set the next higher (-1: lower) refresh rate."""
    near = min(range(len(RATES)), key=lambda at: abs(RATES[at] - console.prefs.rate))
    set_rate(console, str(RATES[max(0, min(near + by, len(RATES) - 1))]))


def set_confirm(console: CommandHost, text: str) -> None:
    """Set the level from which commands are confirmed: 1 (all but the harmless), or 2."""
    if text not in ("1", "2"):
        console.flash("confirm 1: also for one build or slave; confirm 2: only for more", True)
        return
    console.prefs.confirm_from = int(text)
    _keep(console, f"commands are confirmed from level {text} on")


def keep_filter(console: CommandHost, name: str) -> None:
    """Save the fleet's filter under a name."""
    text = console.filter
    if not name or not text:
        console.flash("filter the fleet first, then :keep NAME", error=True)
        return
    console.prefs.filters[name] = text
    _keep(console, f":@{name} is {text}")


def forget_filter(console: CommandHost, name: str) -> None:
    """Delete a named filter."""
    if console.prefs.filters.pop(name.removeprefix("@"), None) is None:
        console.flash(f"there is no filter {name}", error=True)
        return
    _keep(console, f"{name} is forgotten")
