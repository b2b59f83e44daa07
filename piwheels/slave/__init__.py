"""The slave: asks the master for a version, builds it with pip, sends the wheel back."""

from typing import Any

__all__ = ["PiWheelsSlave", "duration"]


def __getattr__(name: str) -> Any:
    # So that importing the builder alone does not load the sockets.
    if name in __all__:
        from piwheels.slave import app  # noqa: PLC0415

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
