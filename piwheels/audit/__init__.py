"""``piw-audit``: the site and what is kept in the database, checked against the database."""

from piwheels.audit.app import main

__all__ = ["main"]
