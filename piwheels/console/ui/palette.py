"""The typed commands: one registry for the ``:`` line and the palette (ctrl+p)."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Provider
from textual.content import Content

from piwheels.console.model.commands import Verb
from piwheels.console.ui import settings
from piwheels.console.ui.verbs import ACTIONS, SLAVE_VERBS

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.command import Hits

    from piwheels.console.ui.host import CommandHost


class Palette(CommandPalette):
    """The palette; it ignores page keys while its list is rebuilt."""

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):  # Textual's list has no lines then
            super()._action_command_list(action)


class Entry(NamedTuple):
    """A command: its name, its help, its function; *takes*: the name of its argument."""

    name: str
    help: str
    run: Callable[[CommandHost, str], object]
    takes: str = ""


def entries(console: CommandHost) -> list[Entry]:
    """Return all commands that can be typed now."""
    return [
        *_PLACES,
        *(Entry(mode, f"the {title} screen", _go(mode)) for mode, title in console.tabs()[1:]),
        *(Entry(verb.value, ACTIONS[verb].does, _give(verb)) for verb in SLAVE_VERBS),
        *(Entry(_of_all(verb), action.farm, _give_all(verb))
          for verb, action in ACTIONS.items() if action.farm),
        *_OTHERS,
        *(Entry(f"@{name}", "a saved filter", _filter(text))
          for name, text in console.prefs.filters.items()),
        *(Entry(f"theme {name}", "this theme", _theme(name))
          for name in sorted(console.themes)),
    ]  # fmt: skip


def _go(mode: str) -> Callable[[CommandHost, str], object]:
    return lambda console, _: console.go(mode)


def _give(verb: Verb) -> Callable[[CommandHost, str], object]:
    return lambda console, _: console.commands.give(verb, console.targets())


def _give_all(verb: Verb) -> Callable[[CommandHost, str], object]:
    return lambda console, _: console.commands.give(verb, None)


def _of_all(verb: Verb) -> str:
    return "master-quit" if verb is Verb.QUIT else f"farm-{verb}"


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


def _why(console: CommandHost, text: str) -> None:
    package, _, version = text.partition(" ")
    console.open_why(package, version.strip())


def _of_version(console: CommandHost, give: Callable[[str, str], object], text: str) -> None:
    package, _, version = text.partition(" ")
    if version.strip():
        give(package, version.strip())
    else:
        console.flash("name a package and a version", error=True)


_PLACES: Final = (
    Entry("fleet", "all slaves, or those of a filter", lambda it, to: it.open_fleet(to), "WHAT"),
    Entry("slave", "a slave by its number or label", _slave, "ID"),
    Entry("group", "by abi, rack or os; without: slaves", lambda it, by: it.group(by), "BY"),
    Entry("targets", "the queue of each target", lambda it, _: it.action_targets()),
    Entry("failures", "what has failed, and why", lambda it, _: it.action_failures()),
    Entry("why", "why there is no wheel for a target", _why, "NAME VERSION"),
    Entry("commands", "all commands and their outcomes", lambda it, _: it.action_commands()),
    Entry("help", "keys and symbols", lambda it, _: it.action_help()),
)  # fmt: skip
_OTHERS: Final = (
    Entry("retry", "try the failed builds of a version again",
          lambda it, what: _of_version(it, it.commands.retry, what), "NAME VERSION"),
    Entry("first", "build a version before others",
          lambda it, what: _of_version(it, it.commands.put_first, what), "NAME VERSION"),
    Entry("save", "the table, as CSV or .jsonl", lambda it, name: it.save(name), "FILE"),
    Entry("keep", "the fleet's filter, as @NAME", settings.keep_filter, "NAME"),
    Entry("forget", "a saved filter", settings.forget_filter, "NAME"),
    Entry("rate", "refreshes per second: 0.5 to 10", settings.set_rate, "HZ"),
    Entry("confirm", "confirm commands from this level on: 1 or 2", settings.set_confirm, "LEVEL"),
    Entry("reattach", "ask the master for a full replay", lambda it, _: it.action_reattach()),
    Entry("screenshot", "the screen as an SVG picture", lambda it, to: it.screenshot(to), "FILE"),
    Entry("quit", "quit the console; the farm continues", lambda it, _: it.action_ask_quit()),
)  # fmt: skip


def find_entry(known: list[Entry], typed: str) -> tuple[Entry | None, str]:
    """Return the entry that *typed* names (perhaps abbreviated), and its argument.

    Without an entry, the second value is the error.
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
        """Yield all commands."""
        for each in self._entries:
            yield DiscoveryHit(
                Content(each.name), partial(each.run, self._console, ""), each.name, each.help
            )

    async def search(self, query: str) -> Hits:
        """Yield the commands that match; with an argument, those that take one."""
        matcher = self.matcher(query)
        for each in self._entries:
            if each.takes and query.startswith(f"{each.name} "):
                run = partial(each.run, self._console, query[len(each.name) :].strip())
                yield Hit(1.0, Content(query), run, query, each.help)
            elif (score := matcher.match(each.name)) > 0:
                run = partial(each.run, self._console, "")
                yield Hit(score, matcher.highlight(each.name), run, each.name, each.help)
