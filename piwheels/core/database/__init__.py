"""The database, as its clients see it: one line of Python for each function of ``sql/``.

The rules are in the database (``sql/README.md``). Every call is one transaction; it is tried again
when the connection is lost, where that is safe, and what fails for good raises
:exc:`~piwheels.core.errors.DatabaseError`.
"""

from __future__ import annotations

from piwheels.core.database.builds import Builds
from piwheels.core.database.listener import Listener
from piwheels.core.database.logs import Logs
from piwheels.core.database.packages import Packages
from piwheels.core.database.pages import Pages
from piwheels.core.database.upstream import Upstream

__all__ = ["Database", "Listener"]


class Database(Packages, Builds, Pages, Logs, Upstream):
    """A PostgreSQL database with our schema, reached as the daemon's role.

    *dsn* is an address such as ``postgresql://piwheels@host/piwheels``; *patience* is for how many
    seconds a call is tried again when the connection is lost. Use it as a context manager, or
    close it. Raises :exc:`~piwheels.core.errors.Fatal` when the database cannot be used at all.
    """
