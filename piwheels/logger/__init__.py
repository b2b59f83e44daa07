"""``piw-logger``: tells the master what was fetched from the site, as web servers log it.

A line of the log becomes a *hit* (:mod:`~piwheels.logger.lines`), a hit an entry for Lumberjack
(:mod:`~piwheels.logger.hits`), with what the client says of itself
(:mod:`~piwheels.logger.agents`); these three are pure.
"""
