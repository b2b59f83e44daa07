"""The master: tasks that hand builds to slaves, store them in PostgreSQL, and serve consoles."""

from typing import Any

__all__ = ["PiWheelsMaster"]


def __getattr__(name: str) -> Any:
    # Imported on demand, so that importing one task does not import all of them.
    if name == "PiWheelsMaster":
        from piwheels.master.app import PiWheelsMaster  # noqa: PLC0415

        return PiWheelsMaster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
