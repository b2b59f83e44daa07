"""The line that says how builds are separated from the farm, and what is not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

#: The sandboxes, the strongest first.
_HOW: Final = {
    "bwrap": "in a sandbox (bubblewrap)",
    "landlock": "in a sandbox (Landlock)",
    "none": "without a sandbox",
}
#: What builds can use nevertheless, if they have the user of the farm, or by :data:`_OWN`.
_LEFT: Final = {
    "bwrap": "",
    "landlock": "the sockets of this user, those of the farm, too",
    "none": "whatever belongs to this user",
}
_OWN: Final = {**dict.fromkeys(_LEFT, ""), "none": "other builds, and their slave with its key"}


def sentence(sandboxes: Collection[str], builder: str, *, chosen: bool, is_root: bool) -> str:
    """Return how builds in these *sandboxes* are separated.

    *builder* is their own user (``""``: they have that of the farm). *chosen*: the operator has
    named the sandbox; *is_root*: the farm has root.
    """
    weakest = max(sandboxes, key=list(_HOW).index)
    how = f"builds run {_HOW[weakest]}" + (f", as the user {builder}" if builder else "")
    left = (_OWN if builder else _LEFT)[weakest]
    if not left:
        return how
    remedy = "--sandbox auto" if chosen else "bubblewrap (the log of the slave says why not)"
    if not builder:
        remedy += " or a start " + ("without PIW_ALLOW_ROOT" if is_root else "as root")
    return f"{how}; not separated: {left}; better: {remedy}"
