"""``piw-serve``: a small web server for the site."""
