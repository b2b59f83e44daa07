"""``piw-audit``: checks the site and the derived tables against the database."""
