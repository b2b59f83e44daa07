"""Which packages of Debian have what a build lacks."""

from __future__ import annotations


def packages_for(reason: str, subject: str, release: str) -> list[str]:
    """Return the packages of Debian *release* that have *subject*, the best first."""
    return []
