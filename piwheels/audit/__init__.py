"""``piw-audit``: checks the site, and the derived data of the database, against the database."""
