"""The master: PostgreSQL behind it, a cast of small tasks in it, slaves and consoles before it."""

from typing import Any

__all__ = ["PiWheelsMaster"]


def __getattr__(name: str) -> Any:
    # Whoever imports one task gets that task, not the whole cast.
    if name == "PiWheelsMaster":
        from piwheels.master.app import PiWheelsMaster  # noqa: PLC0415

        return PiWheelsMaster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
