"""Tracks the progress of the requested versions, and writes the report at the end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.clock import SYSTEM
from piwheels.core.diagnosis import Diagnosis, last_reason
from piwheels.core.diagnosis.words import headline, is_unknown
from piwheels.core.pythons import supports
from piwheels.core.recipes import recipe_phrase
from piwheels.core.site import log_name
from piwheels.core.targets import Target as BuildTarget
from piwheels.core.text import ESCAPE, clean
from piwheels.core.wheels.tags import abi_key, known_spelling
from piwheels.core.words import duration_text
from piwheels.up import site, summary
from piwheels.up.progress import GREEN, RED
from piwheels.up.registry import IMPORTED
from piwheels.up.summary import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from piwheels.core.clock import Clock
    from piwheels.core.database import Database
    from piwheels.core.database.rows import BuildRow
    from piwheels.up.progress import Screen
    from piwheels.up.summary import Row


#: An attempt that is due so early is awaited.
_SOON: Final = timedelta(minutes=1)


class Tracker:
    """Tracks *targets* for *own*, and for further targets that the farm builds for.

    The owner sets their versions and problems. *own* are those of this machine's interpreters, the
    main one first; *pythons* are the versions of these (``"3.11"``); *folder* contains the site.
    With *for_all*, a version has ended once it waits for no target at all: else for none of
    :attr:`ours`, because nobody knows when a board returns.
    """

    def __init__(
        self,
        targets: list[Target],
        own: Sequence[BuildTarget],
        pythons: Sequence[str],
        folder: Path,
        screen: Screen,
        *,
        for_all: bool = True,
        clock: Clock = SYSTEM,
    ) -> None:
        self.targets = targets
        self._clock = clock
        self._pythons = pythons
        self._main, self._own = own[0], sorted(own, key=_order)
        #: The targets of the slave of this machine.
        self.ours = set(own)
        self._for_all = for_all
        #: Further active targets.
        self._others: list[BuildTarget] = []
        self._site = folder
        self._screen = screen
        self._rows: list[Row] = []
        self._wheels: dict[tuple[str, str], str] = {}
        #: The newest build before the start of this run.
        self._newest_before = 0
        self._reported: set[int] = set()
        self._ended: set[tuple[str, str]] = set()
        self._spelled: set[int] = set()

    @property
    def done(self) -> int:
        """The number of finished targets."""
        return sum(1 for target in self.targets if target.problem or target.key in self._ended)

    def begin(self, db: Database) -> None:
        """Record the newest build of earlier runs, before a new one can begin."""
        self._newest_before = max((row.build_id for row in db.get_recent_builds(1)), default=0)

    def update(self, db: Database) -> bool:
        """Read the progress from the database; return whether everything was attempted."""
        targets = [target for target in self.targets if target.version and not target.problem]
        for target in targets:
            if id(target) not in self._spelled:  # the farm may spell the version differently
                known = db.get_known_versions(target.package)
                target.version = known_spelling(target.version, known)
                if target.version in known:
                    self._spelled.add(id(target))
        keys = [target.key for target in targets]
        # In this order: a build that ends in between counts as pending, never as missing.
        # A failure is a result, even if the farm wants a second opinion.
        waiting: dict[tuple[str, str], set[BuildTarget]] = {}
        for each in db.get_pending(keys):
            if each.failed_at is None:
                waiting.setdefault((each.package, each.version), set()).add(each.target)
        active = {
            BuildTarget(row.platform, row.abi_tag) for row in db.get_targets() if not row.skip
        }
        self._others = sorted(active.difference(self._own), key=_order)
        requirements = db.get_requirements(keys)
        for target in targets:
            target.requires, target.excluded = requirements.get(target.key, ("", 0))
        builds = db.get_builds(keys)
        for build in builds:
            if self._is_soon(build):
                place = BuildTarget(build.platform, build.abi_tag)
                waiting.setdefault((build.package, build.version), set()).add(place)
        self._report_builds(builds)
        attempted = {(build.package, build.version) for build in builds}
        attempted |= {
            target.key
            for target in targets
            if not any(supports(target.excluded, each.abi) for each in self._own)
        }
        for target in targets:
            if target.key in waiting or target.key in attempted:
                continue
            if (skip := db.get_version_skip(*target.key)) and skip != IMPORTED:
                target.problem, target.detail = "skipped", skip
        self._ended = attempted - {key for key, places in waiting.items() if self._awaits(places)}
        self._rows = [
            row
            for target in self.targets
            for row in summary.rows_of(
                target,
                self._own,
                self._others,
                builds,
                waiting.get(target.key, ()),
                name=self._name,
            )
        ]
        self._wheels = {
            (row.package, row.version): row.wheel
            for row in self._rows
            if row.wheel and row.target == self._main
        }
        return self.done == len(self.targets)

    def _awaits(self, places: Iterable[BuildTarget]) -> bool:
        """Return whether a version that waits for builds for *places* has not ended."""
        return any(self._for_all or each in self.ours or each.platform == "any" for each in places)

    def _is_soon(self, build: BuildRow) -> bool:
        """Return whether the attempt that follows *build* is due within a minute."""
        return build.retry_at is not None and build.retry_at - self._clock.now() < _SOON

    def _again(self, retry_at: datetime | None) -> str:
        """Return when a failed build is tried again; ``""``: it is not."""
        if retry_at is None:
            return ""
        left = retry_at - self._clock.now()
        when = (
            f"will be tried again in {duration_text(left)}" if left >= _SOON else "is tried again"
        )
        return f"it {when}"

    def wheel(self, target: Target) -> str:
        """Return the name of *target*'s wheel for the main interpreter; ``""``: there is none."""
        return self._wheels.get(target.key, "")

    def _name(self, target: BuildTarget) -> str:
        """Return the name of *target* for people: its ABI alone while there is one platform."""
        platforms = {each.platform for each in (*self._own, *self._others)}
        return target.words if len(platforms - {"any"}) > 1 else target.abi

    def has_ended(self, target: Target) -> bool:
        """Return whether *target* was attempted, and has ended."""
        return target.key in self._ended

    def _report_builds(self, builds: Sequence[BuildRow]) -> None:
        """Log the builds that have ended since the last call (or the start)."""
        imported = {target.key for target in self.targets if target.is_imported}
        for build in builds:
            if (build.package, build.version) in imported:
                continue
            if build.build_id in self._reported or build.build_id <= self._newest_before:
                continue
            self._reported.add(build.build_id)
            name = self._name(BuildTarget(build.platform, build.abi_tag))
            what = f"{build.package} {build.version} for {name}"
            seconds = f"{build.duration.total_seconds():.1f} s"
            if build.status:
                files = ", ".join(build.filenames)
                how = " ".join(filter(None, (what, recipe_phrase(build.recipe))))
                self._screen.say(f"built {how} in {seconds}: {files}", GREEN)
                continue
            found = Diagnosis(build.reason, build.subject, build.cause)
            why = "" if is_unknown(found) and not found.cause else f": {headline(found)}"
            follows = self._again(build.retry_at)
            text = f"{what} after {seconds}{why}{f'; {follows}' if follows else ''}"
            self._screen.say(*(f"failed {text}", RED) if build.counts else (f"put off {text}",))

    def published(self, db: Database, *, wait_for_upstream: bool) -> bool:
        """Return whether the site is complete: wheels in the index, and the logs of failures.

        With *wait_for_upstream*, it is not before the master has asked the index for yanks.
        """
        names = {target.package for target in self.targets if target.version and not target.problem}
        if wait_for_upstream and db.get_unpolled(names):
            return False
        if any(db.get_rewrite_note(name, "BOTH") is not None for name in names):
            return False
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
            if row.diagnosis is not None and row.build_id is not None
        ]

    def _missing(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the packages with the dependencies that the site does not have."""
        for package, wheel in sorted({(row.package, row.wheel) for row in self._rows if row.wheel}):
            if needs := site.missing(self._site, package, wheel, self._pythons):
                yield package, needs

    def add_dependencies(self) -> list[Target]:
        """Add the dependencies of the packages built so far; return the new targets."""
        known = {target.package for target in self.targets}
        new: dict[str, Target] = {}
        for package, needs in self._missing():
            for name, spec in needs.items():
                if name not in known:
                    new.setdefault(name, Target(spec, name, needed_by=package))
        self.targets += new.values()
        return list(new.values())

    @property
    def all_built(self) -> bool:
        """Whether all requested versions are built, each for all own Pythons that it is for."""
        needed = {target.key for target in self.targets if target.needed_by}
        rows = [row for row in self._rows if (row.package, row.version) not in needed]
        built = {(row.package, row.version) for row in rows if row.has_wheel}
        return all(
            row.has_wheel or (row.requires and (row.package, row.version) in built) for row in rows
        )

    def problems(self) -> list[str]:
        """Return a sentence for each requested version without a wheel."""
        found = []
        for target in self.targets:
            if target.problem and not target.needed_by:
                found.append(f"{target.spec}: {target.problem}: {target.detail}")
        found += [
            f"{row.package} {row.version} for {self._name(row.target)}: {row.result}"
            for row in self._rows
            if row.requires
        ]
        for row, number in self._failed():
            found.append(self._failure(row, number))
        return found

    def records(
        self, url: str, trusted: str = "", specs: Sequence[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the contents of :meth:`report` as objects for ``--json``."""
        for row in self._rows:
            yield self._record(row, url)
        for target in self.targets:
            if target.problem:
                text = f"{target.problem}: {target.detail}"
                yield {"event": "refused", "package": target.package, "message": text}
        for package, needs in self._missing():
            yield {"event": "missing", "package": package, "needs": list(needs.values())}
        built = summary.installable(self.targets, self._rows)
        specs = built if specs is None else specs
        install = summary.install_line(f"{url}simple/", specs, trusted) if specs else None
        yield {"event": "finished", "built": built, "url": url, "install": install}

    def _record(self, row: Row, url: str) -> dict[str, Any]:
        """Return the object of *row*: what the table has, and the diagnosis of a failure."""
        values = {"event": "result", **row._asdict()}
        found = values.pop("diagnosis")
        values["retry_at"] = row.retry_at and row.retry_at.isoformat()
        for name in ("log", "message", "reason", "subject", "cause", "sentence", "about"):
            values[name] = None
        if found is not None and row.build_id is not None:
            values["log"] = f"{url}{log_name(row.build_id)}"
            values["message"] = self._reason(found, row.build_id)
            if not is_unknown(found):
                about = found.about
                values |= {"reason": about.code, "subject": found.subject, "cause": found.cause}
                values |= {"sentence": found.sentence, "about": f"{url}{about.page}"}
        return values

    def _failure(self, row: Row, number: int) -> str:
        name, found = self._name(row.target), row.diagnosis
        why = "" if found is None else self._reason(found, number)
        why = f"{summary.PUT_OFF}: {why}" if row.result == summary.PUT_OFF else why
        return f"{row.package} {row.version} for {name}: {why}"

    def _advice(self, row: Row, url: str) -> Iterator[str]:
        """Yield what to do about the failure of *row*, and what was tried, or follows."""
        if row.diagnosis is not None and not is_unknown(row.diagnosis):
            yield row.diagnosis.sentence
            yield f"{url}{row.diagnosis.about.page}"
        if row.tried:
            yield f"also failed {', '.join(row.tried)}"
        if follows := self._again(row.retry_at):
            yield follows

    def _reason(self, found: Diagnosis, number: int) -> str:
        """Return why the build *number* failed, in one line; the end of its log if nobody knows."""
        end = "" if found.cause else last_reason(ESCAPE.sub("", site.read_log(self._site, number)))
        return clean(headline(found, clean(end, 300)), 10_000)

    def report(self, url: str, trusted: str = "", specs: Sequence[str] | None = None) -> str:
        """Return the table, the failures with their reasons, and the command to install it all.

        *url* is the site's; *trusted* and *specs* are as for
        :func:`~piwheels.up.summary.install_line` (``None``: all that was requested).
        """
        lines = ["", *summary.table(self._rows, self._name), ""]
        lines += [f"{a.package}: needed by {a.needed_by}" for a in self.targets if a.needed_by]
        lines += [f"{a.spec}: {a.problem}: {a.detail}" for a in self.targets if a.problem]
        for row, number in self._failed():
            lines.append(self._failure(row, number))
            lines += [f"  {line}" for line in self._advice(row, url)]
            lines.append(f"  {url}{log_name(number)}")
        for package, needs in self._missing():
            lines.append(
                f"{package} needs {', '.join(needs.values())}, which this index does not have"
            )
        if lines[-1]:
            lines.append("")
        specs = summary.installable(self.targets, self._rows) if specs is None else specs
        install = summary.install_line(f"{url}simple/", specs, trusted)
        return "\n".join([*lines, install if specs else "nothing was built", ""])


def _order(target: BuildTarget) -> tuple[Any, ...]:
    return abi_key(target.abi), target.platform
