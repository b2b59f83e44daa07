"""What can be typed: one registry for the ``:`` line and for the palette (ctrl+p)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from textual.command import DiscoveryHit, Hit, Provider
from textual.content import Content

from piwheels.console.model.commands import Verb
from piwheels.console.ui.verbs import DEEDS, OF_SLAVES

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.command import Hits

    from piwheels.console.ui.app import ConsoleApp


class Entry(NamedTuple):
    """A command: what is typed, what it does, how; *takes* names what may be typed after it."""

    name: str
    help: str
    run: Callable[[str], object]
    takes: str = ""


def entries(console: ConsoleApp) -> list[Entry]:
    """Return all that can be typed now."""
    return [
        *_places(console),
        *_verbs(console),
        *_others(console),
        *(
            Entry(f"@{name}", "a filter that was kept", partial(_filter, console, text))
            for name, text in console.prefs.filters.items()
        ),
        *(
            Entry(f"theme {name}", "these colours", partial(_theme, console, name))
            for name in sorted(console.available_themes)
        ),
    ]


def _filter(console: ConsoleApp, text: str, _rest: str) -> None:
    console.open_fleet(text)


def _go(console: ConsoleApp, mode: str, _rest: str) -> None:
    console.go(mode)


def _theme(console: ConsoleApp, name: str, _rest: str) -> None:
    console.choose_theme(name)


def _places(console: ConsoleApp) -> list[Entry]:
    return [
        Entry("fleet", "all slaves, or those of a filter", console.open_fleet, "FILTER"),
        *(
            Entry(mode, f"the {title} screen", partial(_go, console, mode))
            for mode, title in console.tabs()[1:]
        ),
        Entry("slave", "a slave by its number or label", console.find_slave, "ID"),
        Entry("group", "rows a group: abi, rack, os; without: slaves", console.group, "BY"),
        Entry(
            "commands", "all commands, and what became of them", lambda _: console.show_commands()
        ),
        Entry("help", "all keys and signs", lambda _: console.show_help()),
    ]


def _verbs(console: ConsoleApp) -> list[Entry]:
    def give(verb: Verb, _rest: str) -> None:
        console.give(verb, console.targets())

    def give_all(verb: Verb, _rest: str) -> None:
        console.give(verb, None)

    one = [Entry(verb.value, DEEDS[verb].does, partial(give, verb)) for verb in OF_SLAVES]
    farm = [
        Entry(f"farm-{verb}" if verb is not Verb.QUIT else "master-stop", deed.farm,
              partial(give_all, verb))
        for verb, deed in DEEDS.items()
        if deed.farm
    ]  # fmt: skip
    return one + farm


def _others(console: ConsoleApp) -> list[Entry]:
    return [
        Entry("save", "what is shown, as CSV or .jsonl", console.save, "FILE"),
        Entry("keep", "the fleet's filter, as @NAME", console.keep_filter, "NAME"),
        Entry("forget", "a filter that was kept", console.forget_filter, "NAME"),
        Entry("rate", "so many changes a second: 0.5 to 10", console.set_rate, "HZ"),
        Entry("confirm", "ask from this level of danger on: 1 or 2", console.set_confirm, "LEVEL"),
        Entry("reattach", "have the master tell everything anew", lambda _: console.reattach()),
        Entry("screenshot", "the screen as an SVG picture", console.screenshot, "FILE"),
        Entry("quit", "leave; nothing on the farm is stopped", lambda _: console.ask_quit()),
    ]


def find_entry(known: list[Entry], typed: str) -> tuple[Entry | None, str]:
    """Return the entry that *typed* begins with (its name may be cut short), and the rest.

    Without an entry, what is wrong.
    """
    text = typed.strip()
    exact = [each for each in known if text == each.name or text.startswith(f"{each.name} ")]
    if exact:
        best = max(exact, key=lambda each: len(each.name))
        return best, text[len(best.name) :].strip()
    word, _, rest = text.partition(" ")
    begun = [each for each in known if each.name.startswith(text)] or [
        each for each in known if each.name.startswith(word)
    ]
    if len(begun) == 1:
        return begun[0], rest.strip()
    if not begun:
        return None, f"there is no command {word}"
    return None, f"{word} could be {', '.join(each.name for each in begun[:4])}"


class ConsoleCommands(Provider):
    """The registry, for the palette."""

    @property
    def _entries(self) -> list[Entry]:
        console: ConsoleApp = self.app  # type: ignore[assignment]
        return entries(console)

    async def discover(self) -> Hits:
        """Give all."""
        for each in self._entries:
            yield DiscoveryHit(Content(each.name), partial(each.run, ""), each.name, each.help)

    async def search(self, query: str) -> Hits:
        """Give what matches; with an argument, what takes one."""
        matcher = self.matcher(query)
        for each in self._entries:
            if each.takes and query.startswith(f"{each.name} "):
                run = partial(each.run, query[len(each.name) :].strip())
                yield Hit(1.0, Content(query), run, query, each.help)
            elif (score := matcher.match(each.name)) > 0:
                run = partial(each.run, "")
                yield Hit(score, matcher.highlight(each.name), run, each.name, each.help)
