"""``piw-initdb``: makes or upgrades the database."""

from typing import Any

_IN_SCHEMA = frozenset(
    {"detect_users", "detect_version", "get_connection", "get_script", "parse_statements"}
)


def __getattr__(name: str) -> Any:
    # The program starts without a database driver, to say that it is missing.
    if name == "main":
        from piwheels.initdb.__main__ import main  # noqa: PLC0415

        return main
    if name in _IN_SCHEMA:
        from piwheels.initdb import schema  # noqa: PLC0415

        return getattr(schema, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
