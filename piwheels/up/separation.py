"""The line that says how builds are separated from the farm, and what is not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How builds run by the name of their sandbox, the weakest first.
_HOW: Final = {
    "none": "without a sandbox",
    "landlock": "in a sandbox (Landlock)",
    "bwrap": "in a sandbox (bubblewrap)",
}
#: What builds can use nevertheless: with the user of the farm, and with a user of their own.
_SHARED: Final = {
    "none": "all that belongs to this user",
    "signals": "processes of this user",
    "sockets": "sockets of this user",
}
_OWN: Final = {
    "none": "other builds, and their slave with its key",
    "signals": "other builds, and their slave",
}


def sentence(confinements: Iterable[str], builder: str, *, chosen: bool, is_root: bool) -> str:
    """Return how builds are separated, by the *confinements* that their slaves have named.

    *builder* is their own user (``""``: they have that of the farm). *chosen*: the operator has
    named the sandbox; *is_root*: the farm has root.
    """
    facts = {word for each in confinements for word in each.split(", ")}
    how = next(text for name, text in _HOW.items() if name in facts)
    how = f"builds run {how}" + (f", as the user {builder}" if builder else "")
    left = [text for fact, text in (_OWN if builder else _SHARED).items() if fact in facts]
    if not left:
        return how
    remedy = "--sandbox auto" if chosen else "bubblewrap (the log of the slave says why not)"
    if not builder:
        remedy += " or a start " + ("without PIW_ALLOW_ROOT" if is_root else "as root")
    return f"{how}; not separated: {', '.join(left)}; better: {remedy}"
