"""The slave: asks the master for a version, builds it with pip, sends the wheel back."""

from typing import Any

__all__ = ["PiWheelsSlave", "duration"]


def __getattr__(name: str) -> Any:
    # Whoever imports the builder alone does not get the sockets with it.
    if name in __all__:
        from piwheels.slave import app  # noqa: PLC0415

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
