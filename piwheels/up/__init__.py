"""``piw-up``: a whole farm on one machine, from the database to the web server, with one command.

Every part is a process of its own, the same program as in a large farm. piw-up starts them,
registers the versions to build, shows the progress, and stops them.
"""

from typing import Any

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    # So that importing one module (as tests do) loads neither a database driver nor sockets.
    if name in __all__:
        from piwheels.up import app  # noqa: PLC0415

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
