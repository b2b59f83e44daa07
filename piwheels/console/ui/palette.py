"""What can be typed: one registry for the ``:`` line and for the palette (ctrl+p)."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Provider
from textual.content import Content

from piwheels.console.model.commands import Verb
from piwheels.console.ui import settings
from piwheels.console.ui.verbs import DEEDS, OF_SLAVES

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.command import Hits

    from piwheels.console.ui.host import CommandHost


class Palette(CommandPalette):
    """The palette, for which a page is no page while its list is drawn anew."""

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):  # Textual's list does not know its lines then
            super()._action_command_list(action)


class Entry(NamedTuple):
    """A command: what is typed, what it does, how; *takes* names what may be typed after it."""

    name: str
    help: str
    run: Callable[[CommandHost, str], object]
    takes: str = ""


def entries(console: CommandHost) -> list[Entry]:
    """Return all that can be typed now."""
    return [
        *_PLACES,
        *(Entry(mode, f"the {title} screen", _go(mode)) for mode, title in console.tabs()[1:]),
        *(Entry(verb.value, DEEDS[verb].does, _give(verb)) for verb in OF_SLAVES),
        *(Entry(_of_all(verb), deed.farm, _give_all(verb))
          for verb, deed in DEEDS.items() if deed.farm),
        *_OTHERS,
        *(Entry(f"@{name}", "a filter that was kept", _filter(text))
          for name, text in console.prefs.filters.items()),
        *(Entry(f"theme {name}", "these colours", _theme(name))
          for name in sorted(console.themes)),
    ]  # fmt: skip


def _go(mode: str) -> Callable[[CommandHost, str], object]:
    return lambda console, _: console.go(mode)


def _give(verb: Verb) -> Callable[[CommandHost, str], object]:
    return lambda console, _: console.commands.give(verb, console.targets())


def _give_all(verb: Verb) -> Callable[[CommandHost, str], object]:
    return lambda console, _: console.commands.give(verb, None)


def _of_all(verb: Verb) -> str:
    return "master-stop" if verb is Verb.QUIT else f"farm-{verb}"


def _filter(text: str) -> Callable[[CommandHost, str], object]:
    return lambda console, _: console.open_fleet(text)


def _theme(name: str) -> Callable[[CommandHost, str], object]:
    return lambda console, _: settings.choose_theme(console, name)


def _slave(console: CommandHost, text: str) -> None:
    wanted = text.removeprefix("#")
    for slave in console.session.farm.slaves.values():
        if wanted in (str(slave.id), slave.label):
            console.open_slave(slave.id)
            return
    console.open_fleet(text)


_PLACES: Final = (
    Entry("fleet", "all slaves, or those of a filter", lambda it, to: it.open_fleet(to), "WHAT"),
    Entry("slave", "a slave by its number or label", _slave, "ID"),
    Entry("group", "by abi, rack or os; without: slaves", lambda it, by: it.group(by), "BY"),
    Entry("commands", "all commands, and what became of them", lambda it, _: it.action_commands()),
    Entry("help", "all keys and signs", lambda it, _: it.action_help()),
)  # fmt: skip
_OTHERS: Final = (
    Entry("save", "what is shown, as CSV or .jsonl", lambda it, name: it.save(name), "FILE"),
    Entry("keep", "the fleet's filter, as @NAME", settings.keep_filter, "NAME"),
    Entry("forget", "a filter that was kept", settings.forget_filter, "NAME"),
    Entry("rate", "so many changes a second: 0.5 to 10", settings.set_rate, "HZ"),
    Entry("confirm", "ask from this level of danger on: 1 or 2", settings.set_confirm, "LEVEL"),
    Entry("reattach", "have the master tell everything anew", lambda it, _: it.action_reattach()),
    Entry("screenshot", "the screen as an SVG picture", lambda it, to: it.screenshot(to), "FILE"),
    Entry("quit", "leave; nothing on the farm is stopped", lambda it, _: it.action_ask_quit()),
)  # fmt: skip


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
    def _console(self) -> CommandHost:
        return cast("CommandHost", self.app)

    @property
    def _entries(self) -> list[Entry]:
        return entries(self._console)

    async def discover(self) -> Hits:
        """Give all."""
        for each in self._entries:
            yield DiscoveryHit(
                Content(each.name), partial(each.run, self._console, ""), each.name, each.help
            )

    async def search(self, query: str) -> Hits:
        """Give what matches; with an argument, what takes one."""
        matcher = self.matcher(query)
        for each in self._entries:
            if each.takes and query.startswith(f"{each.name} "):
                run = partial(each.run, self._console, query[len(each.name) :].strip())
                yield Hit(1.0, Content(query), run, query, each.help)
            elif (score := matcher.match(each.name)) > 0:
                run = partial(each.run, self._console, "")
                yield Hit(score, matcher.highlight(each.name), run, each.name, each.help)
