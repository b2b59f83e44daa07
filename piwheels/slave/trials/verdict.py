"""What the reports on the trial of a wheel mean. Pure.

That on the import comes from code of strangers: whatever it is, the verdict is a short text.
"""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.core.host.commands import last_line
from piwheels.core.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The longest text of a verdict.
MAX_TEXT: Final = 200
#: The beginning of *why*, if an import needs modules of other distributions.
NEEDS: Final = "needs "
#: What pip says of a wheel for other interpreters.
_FOREIGN: Final = "is not a supported wheel on this platform"
_UNSEEN: Final = "something that only the kernel has seen"
_WORDS: Final = {"late": "it did not end in time", "noisy": "it reported too much"}


class Verdict(NamedTuple):
    """The outcome of an import, as in :class:`~piwheels.core.states.Trial`."""

    imports: bool | None
    why: str = ""
    connects: str = ""
    starts: str = ""


def pip_verdict(report: bytes) -> tuple[bool | None, str]:
    """Return whether pip has installed the wheel, by the *report* on that, and why not.

    ``None``: pip could not decide, or the wheel is for other interpreters.
    """
    try:
        found = json.loads(report)
        ended, said = found["ended"], "\n".join(found["said"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, "pip was stopped"
    # After an error, pip may show a place in a line of METADATA, for example.
    errors = [
        line.removeprefix("ERROR: ") for line in said.split("\n") if line.startswith("ERROR: ")
    ]
    words = errors[-1] if errors else last_line(said)
    if _FOREIGN in words:  # the master has better words for it
        return None, ""
    if isinstance(ended, int) and ended > 0:
        return False, _joined([words])
    return (True, "") if ended == 0 else (None, f"pip was stopped: {_ending(ended)}")


def verdict(modules: Sequence[str], report: bytes) -> Verdict:
    """Return the verdict on the import of *modules*, of which there is a *report*."""
    try:
        found = json.loads(report)
        said, ended = found["said"], found["ended"]
        unseen = found["connects"] is True, found["starts"] is True
        lines = [_words(line) for line in said]
    except (ValueError, TypeError, KeyError, RecursionError):
        return Verdict(False, "it ended the process that watched it")
    flags = {kind: [line[1] for line in lines if line[0] == kind and len(line) == 2]
             for kind in ("connects", "starts")}  # fmt: skip
    connects, starts = (
        _joined(flags[kind] or ([_UNSEEN] if is_seen else []))
        for kind, is_seen in zip(flags, unseen, strict=True)
    )
    return Verdict(*_judge(modules, _results(lines), ended), connects, starts)


def _words(line: Any) -> list[str]:
    """Return the words of a line of the report; an invalid line has one, which is empty."""
    try:
        words = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return [""]
    good = isinstance(words, list) and words and all(isinstance(word, str) for word in words)
    return words if good else [""]


def _results(lines: Iterable[list[str]]) -> dict[str, list[str]]:
    """Return what was said about each module."""
    found: dict[str, list[str]] = {}
    module = ""
    for line in lines:
        if line[0] == "import" and len(line) == 2:
            module = line[1]
        elif line[0] in ("yes", "no", "needs"):
            found.setdefault(module, line)
    return found


def _judge(
    modules: Sequence[str], results: dict[str, list[str]], ended: object
) -> tuple[bool | None, str]:
    needs: dict[str, None] = {}
    for module in sorted(modules, key=lambda name: name.startswith("_")):  # public ones first
        match results.get(module):
            case ["yes"]:
                pass
            case ["needs", other]:
                needs[other] = None
            case ["no", why]:
                return False, _joined([f"{module}: {why}"])
            case _:
                return False, _joined([f"{module}: {_ending(ended)}"])
    if ended != 0:
        return False, _joined([f"after the import: {_ending(ended)}"])
    return (None, f"{NEEDS}{_joined(needs)}"[:MAX_TEXT]) if needs else (True, "")


def _ending(ended: object) -> str:
    if isinstance(ended, int) and ended < 0:
        number = -ended
        known = number in set(signal.Signals)
        return f"it was killed by {signal.Signals(number).name if known else f'signal {number}'}"
    return _WORDS.get(str(ended), f"it ended its interpreter with status {ended}")


def _joined(texts: Iterable[str]) -> str:
    """Return *texts* as one line that can be shown."""
    line = ", ".join(texts)
    return clean(line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…")
