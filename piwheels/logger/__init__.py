"""``piw-logger``: tells the master what was fetched from the site, as web servers log it.

A line of the log becomes a *hit* (:mod:`~piwheels.logger.lines`), a hit an entry for Lumberjack
(:mod:`~piwheels.logger.hits`), with what the client says of itself
(:mod:`~piwheels.logger.agents`); these three are pure.
"""

from typing import Any

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    # Importing one of the pure parts brings no sockets.
    if name in __all__:
        from piwheels.logger import app  # noqa: PLC0415

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
