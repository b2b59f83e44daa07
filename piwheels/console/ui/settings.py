"""What an operator chooses and keeps: colours, rate, when to be asked, filters by name."""

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
    """Show other colours, from now on."""
    console.prefs.theme = name
    console.use_theme(name)
    _keep(console, f"colours: {name}")


def set_rate(console: CommandHost, text: str) -> None:
    """Show so many changes a second, from now on."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not RATES[0] <= rate <= RATES[-1]:
        console.flash(f"a rate is a number from {RATES[0]:g} to {RATES[-1]:g}", error=True)
        return
    console.prefs.rate = rate
    console.beat(rate)
    _keep(console, f"{rate:g} changes a second are shown")


def step_rate(console: CommandHost, by: int) -> None:
    """Show changes as often as the next (-1: the last) of the rates says."""
    near = min(range(len(RATES)), key=lambda at: abs(RATES[at] - console.prefs.rate))
    set_rate(console, str(RATES[max(0, min(near + by, len(RATES) - 1))]))


def set_confirm(console: CommandHost, text: str) -> None:
    """Ask before commands from a level of danger on: 1 (all but the harmless), or 2."""
    if text not in ("1", "2"):
        console.flash("confirm 1: ask before what touches one build; 2: only before more", True)
        return
    console.prefs.confirm_from = int(text)
    _keep(console, f"it is asked from level {text} on")


def keep_filter(console: CommandHost, name: str) -> None:
    """Keep the fleet's filter under a name."""
    text = console.filter
    if not name or not text:
        console.flash("filter the fleet first, then :keep NAME", error=True)
        return
    console.prefs.filters[name] = text
    _keep(console, f":@{name} is {text}")


def forget_filter(console: CommandHost, name: str) -> None:
    """Keep a filter no longer."""
    if console.prefs.filters.pop(name.removeprefix("@"), None) is None:
        console.flash(f"there is no filter {name}", error=True)
        return
    _keep(console, f"{name} is forgotten")
