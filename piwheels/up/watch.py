"""How far the farm is with what was asked for, and the report at the end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from piwheels.core.reasons import last_reason
from piwheels.core.site import log_name
from piwheels.up import outcome, site
from piwheels.up.outcome import Ask
from piwheels.up.progress import GREEN, RED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from piwheels.core.database import Database
    from piwheels.core.database.rows import BuildRow
    from piwheels.up.outcome import Row
    from piwheels.up.progress import Screen


class Watch:
    """Follows *asks*, which others add versions and problems to, for each of *abis*.

    *pythons* are the versions of the interpreters (``"3.11"``); *folder* is where the site is.
    """

    def __init__(
        self,
        asks: list[Ask],
        abis: Sequence[str],
        pythons: Sequence[str],
        folder: Path,
        screen: Screen,
    ) -> None:
        self.asks = asks
        self._pythons = pythons
        self._abis = abis
        self._site = folder
        self._screen = screen
        self._rows: list[Row] = []
        self._since = datetime.now(UTC)
        self._told: set[int] = set()
        self._ended: set[tuple[str, str]] = set()

    @property
    def done(self) -> int:
        """For how many asks there is nothing more to do."""
        return sum(1 for ask in self.asks if ask.problem or ask.key in self._ended)

    def look(self, db: Database) -> bool:
        """Ask the database how far we are; return whether everything was attempted."""
        asks = [ask for ask in self.asks if ask.version and not ask.problem]
        keys = [ask.key for ask in asks]
        # In this order: what is built in between shows as pending once more, never as forgotten.
        waiting = {(package, version) for package, version, _ in db.get_pending(keys)}
        builds = db.get_builds(keys)
        self._tell(builds)
        attempted = {(build.package, build.version) for build in builds}
        for ask in asks:
            if ask.key not in waiting | attempted and (skip := db.get_version_skip(*ask.key)):
                ask.problem, ask.detail = "skipped", skip
        self._ended = attempted - waiting
        self._rows = [
            row
            for ask in self.asks
            for row in outcome.rows_of(ask, self._abis, builds, ask.key in waiting)
        ]
        return self.done == len(self.asks)

    def _tell(self, builds: Sequence[BuildRow]) -> None:
        """Say which builds have ended since the last time (or our start)."""
        for build in builds:
            if build.build_id in self._told or build.built_at < self._since:
                continue
            self._told.add(build.build_id)
            what = f"{build.package} {build.version} for {build.abi_tag}"
            seconds = f"{build.duration.total_seconds():.1f} s"
            if build.status:
                files = ", ".join(build.filenames)
                self._screen.say(f"built {what} in {seconds}: {files}", GREEN)
            else:
                self._screen.say(f"failed {what} after {seconds}", RED)

    def published(self) -> bool:
        """Tell whether the site shows it all: the wheels in the index, the logs of failures."""
        files: dict[str, set[str]] = {}
        for row in self._rows:
            if row.wheel:
                files.setdefault(row.package, set()).add(row.wheel)
        return all(site.lists(self._site, *item) for item in files.items()) and all(
            (self._site / log_name(number)).exists() for _, number in self._failed()
        )

    def _failed(self) -> list[tuple[Row, int]]:
        return [
            (row, row.build_id)
            for row in self._rows
            if row.result == outcome.FAILED and row.build_id is not None
        ]

    def _missing(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Give what has to come from elsewhere when a package is installed."""
        for package, wheel in sorted({(row.package, row.wheel) for row in self._rows if row.wheel}):
            if needs := site.missing(self._site, package, wheel, self._pythons):
                yield package, needs

    def follow(self) -> list[Ask]:
        """Ask for what the packages that are built by now need, too; return what is new."""
        known = {ask.package for ask in self.asks}
        new: dict[str, Ask] = {}
        for package, needs in self._missing():
            for name, spec in needs.items():
                if name not in known:
                    new.setdefault(name, Ask(spec, name, needed_by=package))
        self.asks += new.values()
        return list(new.values())

    @property
    def good(self) -> bool:
        """Whether all that was asked for is built."""
        needed = {ask.package for ask in self.asks if ask.needed_by}
        return all(row.good for row in self._rows if row.package not in needed)

    def report(self, url: str, trusted: str = "") -> str:
        """Return the table, the failures with their reasons, and the command that installs it all.

        *url* is the site's; *trusted* is as for :func:`~piwheels.up.outcome.install_line`.
        """
        lines = ["", *outcome.table(self._rows), ""]
        lines += [f"{a.package}: needed by {a.needed_by}" for a in self.asks if a.needed_by]
        lines += [f"{a.spec}: {a.problem}: {a.detail}" for a in self.asks if a.problem]
        for row, number in self._failed():
            reason = last_reason(site.read_log(self._site, number))
            lines.append(f"{row.package} {row.version} for {row.abi}: {reason[:300]}")
            lines.append(f"  {url}{log_name(number)}")
        for package, needs in self._missing():
            lines.append(f"{package} needs {', '.join(needs.values())}, which this index has not")
        if lines[-1]:
            lines.append("")
        specs = outcome.installable(self.asks, self._rows)
        install = outcome.install_line(f"{url}simple/", specs, trusted)
        return "\n".join([*lines, install if specs else "nothing was built", ""])
