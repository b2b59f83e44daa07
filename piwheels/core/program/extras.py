"""Errors about missing packages, with the extra of this project that installs them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from piwheels.core.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needs(extra: str, otherwise: str = "") -> Iterator[None]:
    """Raise ``Fatal`` if an import in the block fails because *extra* is not installed.

    The sentence names the command that installs it, then *otherwise* (``"or use --once"``). A
    missing module of this project or of the standard library is a bug, and is raised unchanged.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package in {"", "piwheels", *sys.stdlib_module_names}:
            raise
        advice = f"{install(extra)}{otherwise and f', {otherwise}'}"
        raise Fatal(f"{package} is not installed: {advice}") from exc


def install(extra: str) -> str:
    """Return the command that installs *extra*."""
    return f"pip install 'piwheels[{extra}]'"
