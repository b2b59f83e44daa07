"""Notifications of changes to the build queue (LISTEN/NOTIFY)."""

from __future__ import annotations

import logging
import select
from typing import TYPE_CHECKING, Any, Self

from piwheels.core.clock import SYSTEM
from piwheels.core.database.dsn import driver

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

logger = logging.getLogger("database")

CHANNEL = "piwheels_queue"
PAUSE = 5.0  # seconds between attempts to connect again
CONNECT_TIMEOUT = 3  # seconds; the caller's loop is blocked for as long


class Listener:
    """A listening connection; :meth:`fileno` becomes readable when a notification arrives.

    The descriptor stays the same across reconnections. Without a connection it never becomes
    readable: call :meth:`drain` from a timer, too.
    """

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._poll = select.epoll()
        self._connection: Any = None
        self._next_try = 0.0
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._poll.fileno()

    def drain(self) -> bool:
        """Return whether the queue has changed, or may have, since the last call.

        It blocks only to reconnect (at most 3 s, every 5 s). After a reconnection it returns
        ``True``, because a notification may have been lost.
        """
        if self._connection is None:
            return SYSTEM.monotonic() >= self._next_try and self._connect()
        try:
            self._connection.poll()
        except driver().Error as exc:
            logger.warning("database: no longer listening (%s); connecting again", _line(exc))
            self._drop()
            return self._connect()
        news = bool(self._connection.notifies)
        self._connection.notifies.clear()
        return news

    def close(self) -> None:
        """Stop listening."""
        self._drop()
        self._poll.close()

    def _connect(self) -> bool:
        psycopg2 = driver()
        self._next_try = SYSTEM.monotonic() + PAUSE
        connection = None
        try:
            connection = psycopg2.connect(
                self._url,
                connect_timeout=CONNECT_TIMEOUT,
                keepalives_idle=10,  # seconds; a vanished server sends nothing
                keepalives_interval=5,
                keepalives_count=3,
            )
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
        except psycopg2.Error as exc:
            logger.warning("database: cannot listen (%s); trying again later", _line(exc))
            if connection is not None:
                connection.close()
            return False
        self._connection = connection
        self._poll.register(connection.fileno(), select.EPOLLIN)
        return True

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()  # its socket leaves the epoll set by itself
            self._connection = None


def _line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]
