"""Packages, versions and package aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piwheels.core.clock import SYSTEM
from piwheels.core.database.connection import REASON, Client, call, clean
from piwheels.core.wheels.tags import known_spelling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection


class Packages(Client):
    """Packages and versions. One with a *skip* reason (not ``''``) is not built."""

    def test_package(self, package: str) -> bool:
        """Return whether *package* exists."""
        return bool(self._value("test_package", clean(package)))

    def test_package_version(self, package: str, version: str) -> bool:
        """Return whether *version* of *package* exists."""
        return bool(self._value("test_package_version", clean(package), clean(version)))

    def add_new_package(self, package: str, skip: str = "", description: str = "") -> bool:
        """Add a package; return ``False`` if it existed."""
        values = clean(package), clean(skip, REASON), clean(description, REASON)
        return bool(self._value("add_new_package", *values, again=False))

    def add_new_package_version(
        self, package: str, version: str, released: datetime | None = None, skip: str = ""
    ) -> bool:
        """Add a version, *released* now by default.

        Return ``False`` if it existed, in any spelling (PEP 440), or if *package* does not exist.
        """
        package, version, skip = clean(package), clean(version), clean(skip, REASON)
        released = released or SYSTEM.now()

        def add(conn: Connection) -> bool:
            known = [each for _, each in call(conn, "get_spellings", [package])]
            spelling = known_spelling(version, known)
            values = package, spelling, released, skip, known
            return bool(call(conn, "add_new_package_version", *values)[0][0])

        return self._try(add, again=False)

    def add_package_name(self, package: str, name: str, seen: datetime | None = None) -> None:
        """Record *name* as an alias of *package*, last *seen* at that time (default: now)."""
        seen = seen or SYSTEM.now()
        self._value("add_package_name", clean(package), clean(name), seen)

    def set_package_description(self, package: str, description: str) -> None:
        """Set the one-line *description* of *package*, an operator's; it overrides the summary."""
        self._value("set_package_description", clean(package), clean(description, REASON))

    def set_package_metadata(
        self, package: str, summary: str = "", needs: Iterable[str] = ()
    ) -> bool:
        """Set what the newest wheel of *package* says; return whether the *summary* is new.

        *needs* are the normalized names of the projects that it requires.
        """
        names = sorted({clean(name) for name in needs})
        values = clean(package), clean(summary, REASON), names
        return bool(self._value("set_package_metadata", *values))

    def set_package_status(self, package: str, status: str) -> None:
        """Set the project *status* (PEP 792) of *package*.

        It is ``active``, ``archived``, ``quarantined`` or ``deprecated``; any other raises
        ``DatabaseError``.
        """
        self._value("set_package_status", clean(package), clean(status))

    def skip_package(self, package: str, reason: str) -> None:
        """Skip all versions of *package*, now and later, for *reason* (``''``: build them)."""
        self._value("skip_package", clean(package), clean(reason, REASON))

    def skip_package_version(self, package: str, version: str, reason: str) -> None:
        """Skip *version* of *package* for *reason* (``''``: build it)."""
        values = clean(package), clean(version), clean(reason, REASON)
        self._value("skip_package_version", *values)

    def hold_builds(self, package: str, version: str | None, state: bool) -> None:
        """Begin (*state* true) or end a removal of builds: nothing is built in between.

        *version* ``None``: of all versions of *package*.
        """
        self._value("hold_builds", clean(package), version and clean(version), state)

    def builds_held(self, package: str, version: str | None = None) -> bool:
        """Return whether builds are being removed: of *version*, or (``None``) of all versions."""
        return bool(self._value("builds_held", clean(package), version and clean(version)))

    def yank_version(self, package: str, version: str, reason: str = "") -> None:
        """Mark *version* of *package* as yanked (PEP 592) by an operator, for *reason*."""
        self._value("yank_version", clean(package), clean(version), clean(reason, REASON))

    def unyank_version(self, package: str, version: str) -> None:
        """Mark *version* of *package* as no longer yanked."""
        self._value("unyank_version", clean(package), clean(version))

    def delete_package(self, package: str) -> None:
        """Remove *package* with its versions, builds and files."""
        self._value("delete_package", clean(package))

    def delete_version(self, package: str, version: str) -> None:
        """Remove *version* of *package* with its builds and files."""
        self._value("delete_version", clean(package), clean(version))

    def get_all_packages(self) -> set[str]:
        """Return the names of all packages."""
        return set(self._column("get_all_packages"))

    def get_package_aliases(self, package: str) -> list[str]:
        """Return the aliases of *package*, sorted."""
        return self._column("get_package_aliases", clean(package))

    def get_version_skip(self, package: str, version: str) -> str | None:
        """Return why *version*, or all of *package*, is skipped (``''``: it is not).

        Return ``None`` if the version does not exist.
        """
        reason: str | None = self._value("get_version_skip", clean(package), clean(version))
        return reason

    def get_requirements(
        self, versions: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[str, int]]:
        """Return the Requires-Python of those of *versions* that it excludes some Pythons from.

        The number is the mask of these (:mod:`piwheels.core.pythons`).
        """
        names = [[clean(key[i]) for key in versions] for i in range(2)]
        rows = self._rows("get_requirements", *names)
        return {(package, version): (text, mask) for package, version, text, mask in rows}

    def get_versions_deleted(self, package: str) -> set[str]:
        """Return the versions of *package* that are marked as deleted (skip reason ``deleted``)."""
        return set(self._column("get_versions_deleted", clean(package)))

    def get_pypi_serial(self) -> int:
        """Return the serial number of the last processed upstream event."""
        return int(self._value("get_pypi_serial"))
