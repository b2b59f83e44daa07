"""``piw-logger``: reports the site's requests to the master, from a web server's access log.

:mod:`~piwheels.logger.lines` parses a line of the log into a *hit*,
:mod:`~piwheels.logger.agents` parses its user agent, and :mod:`~piwheels.logger.hits` makes an
entry for Lumberjack of it. These three modules are pure.
"""
