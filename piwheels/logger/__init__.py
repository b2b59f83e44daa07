"""``piw-logger``: reports the site's requests to the master, from a web server's access log.

:mod:`~piwheels.logger.lines` parses a line of the log into a *hit*,
:mod:`~piwheels.logger.agents` parses its user agent, and :mod:`~piwheels.logger.hits` makes an
entry for Lumberjack of it. These three modules are pure.
"""

from typing import Any

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    # An import of one of the pure modules must not load ZeroMQ.
    if name in __all__:
        from piwheels.logger import app  # noqa: PLC0415

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
