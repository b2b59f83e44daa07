"""The library that all programs share, and that scripts may use.

Nothing starts when a module is imported. Scripts may import:

* :mod:`piwheels.core.farm` and :mod:`piwheels.core.errors`: requests to a master, its events, and
  what they raise;
* :mod:`piwheels.core.states`, :mod:`piwheels.core.protocols`, :mod:`piwheels.core.conversations`,
  :mod:`piwheels.core.schema` and :mod:`piwheels.core.codec`: messages;
* :mod:`piwheels.core.transport`, :mod:`piwheels.core.tasks` and :mod:`piwheels.core.clock`: sockets
  and tasks;
* :mod:`piwheels.core.database`, with :mod:`piwheels.core.database.rows`: the database (it needs a
  driver);
* :mod:`piwheels.core.wheels`, :mod:`piwheels.core.transfers`, :mod:`piwheels.core.ranges`,
  :mod:`piwheels.core.diagnosis`, :mod:`piwheels.core.recipes`, :mod:`piwheels.core.site`,
  :mod:`piwheels.core.text` and :mod:`piwheels.core.words`: wheels, names and texts;
* from :mod:`piwheels.core.program`: ``command_line``, ``options``, ``manual``, ``admin``,
  ``terminal``, and :mod:`piwheels.core.paths`, for programs of their own.

The API reference (``docs/api``) has a page for each of these. The other modules serve our programs
only, and may change without notice.
"""
