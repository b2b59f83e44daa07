"""The client of the database: one short method for each function of ``sql/``.

The rules live in the database (``sql/README.md``). Every call is one transaction. A call is retried
after a lost connection where that is safe; a final failure raises
:exc:`~piwheels.core.errors.DatabaseError`.
"""

from __future__ import annotations

from piwheels.core.database.builds import Builds
from piwheels.core.database.listener import Listener
from piwheels.core.database.logs import Logs
from piwheels.core.database.packages import Packages
from piwheels.core.database.pages import Pages
from piwheels.core.database.recipes import Recipes
from piwheels.core.database.upstream import Upstream

__all__ = ["Database", "Listener"]


class Database(Packages, Builds, Pages, Logs, Upstream, Recipes):
    """A PostgreSQL database with the piwheels schema.

    *dsn* is a URL such as ``postgresql://piwheels@host/piwheels``; *patience* is how many seconds a
    call is retried after a lost connection. Use it as a context manager, or close it. Raises
    :exc:`~piwheels.core.errors.Fatal` if the database is unusable.
    """
