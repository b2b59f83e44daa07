"""``piw-up``: a whole farm on one machine, from the database to the web server, with one command.

Every part is a process of its own, the same program that a large farm runs; piw-up starts them,
tells them what to build, shows what happens, and stops them.
"""

from typing import Any

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    # Importing a part of it (a test does) brings neither a database driver nor sockets.
    if name in __all__:
        from piwheels.up import app  # noqa: PLC0415

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
