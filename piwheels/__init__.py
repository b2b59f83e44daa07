"""piwheels: a farm that turns source packages into wheels and serves them."""

__version__ = "0.1.0"
