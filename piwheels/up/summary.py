"""The requested versions and their results: rows of a table, and sentences. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.version import InvalidVersion, Version

from piwheels.core import pythons
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.errors import BadWheel
from piwheels.core.recipes import recipe_phrase
from piwheels.core.targets import Target as BuildTarget
from piwheels.core.text import clean
from piwheels.core.wheels.serving import serves
from piwheels.core.wheels.tags import canonical, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from piwheels.core.database.rows import BuildRow

_TARGET = re.compile(
    r"\s*(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?)\s*"
    r"(?:==\s*(?P<version>[A-Za-z0-9._+!-]{1,200})\s*)?",
    re.ASCII,
)

#: The problem of a project that has no source distribution (yet).
NO_SOURCES: Final = "no source distribution"


@dataclass(slots=True)
class Target:
    """A version to build: a requested one, or a dependency of one.

    *spec* is the request as it was written; *version* is ``""`` until the newest one is known;
    *problem* says why it cannot be built (``""``: it can); *needed_by* names the package that
    depends on it, if it was not requested itself; *is_imported*: its wheel is the upstream one.
    It *requires* other Pythons than those of the mask *excluded* (:mod:`piwheels.core.pythons`).
    """

    spec: str
    package: str
    version: str = ""
    problem: str = ""
    detail: str = ""
    needed_by: str = ""
    is_imported: bool = False
    requires: str = ""
    excluded: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """The key of the version in the database."""
        return self.package, self.version

    @property
    def watched(self) -> bool:
        """Whether to build later releases, too: it was requested by name alone.

        A project that has only wheels so far may get sources later.
        """
        return self.problem in {"", NO_SOURCES} and canonical(self.spec) == self.package


class Row(NamedTuple):
    """A line of the table: the result of a version for one target.

    *requires* is the Requires-Python that excludes the target (``""``: it does not).
    *recipe* says what the recipe of its build changed (``""``: it had none). A failure has a
    *diagnosis*, and may be tried again at *retry_at*; *tried* are the recipes that failed, too.
    """

    package: str
    version: str
    abi: str
    result: str
    seconds: float | None = None
    wheel: str = ""
    build_id: int | None = None
    platform: str = ""
    requires: str = ""
    recipe: str = ""
    diagnosis: Diagnosis | None = None
    retry_at: datetime | None = None
    tried: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The result for people: ``built with setuptools<58``."""
        return f"{self.result} {self.recipe}".rstrip()

    @property
    def target(self) -> BuildTarget:
        """The target."""
        return BuildTarget(self.platform, self.abi)

    @property
    def has_wheel(self) -> bool:
        """Whether there is a wheel."""
        return bool(self.wheel)


#: The results of a build without a wheel: the project's failure, and one of the farm.
FAILED, PUT_OFF = "failed", "put off"


def parse(text: str) -> str:
    """Return *text* if it is ``NAME`` or ``NAME==VERSION``; raise ``ValueError`` if it is not."""
    match = _TARGET.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither NAME nor NAME==VERSION")
    if match["version"] is not None:
        try:
            Version(match["version"])
        except InvalidVersion:
            raise ValueError(f"{match['version']!r} is not a version (PEP 440)") from None
    return "".join(text.split())


def parse_targets(specs: Iterable[str]) -> list[Target]:
    """Return the targets for *specs* (results of :func:`parse`), without duplicates."""
    targets: dict[tuple[str, Version | None], Target] = {}
    for spec in specs:
        name, _, version = spec.partition("==")
        target = Target(spec, canonical(name), version)
        targets.setdefault((target.package, Version(version) if version else None), target)
    return list(targets.values())


def rows_of(
    target: Target,
    own: Sequence[BuildTarget],
    others: Iterable[BuildTarget],
    builds: Iterable[BuildRow],
    waiting: Collection[BuildTarget],
    *,
    name: Callable[[BuildTarget], str],
) -> list[Row]:
    """Return the results of *target* for *own*, and for those of *others* that concern it.

    It has the *builds*, and waits for those for *waiting*. People know a target by its *name*.
    """
    if target.problem:
        return [Row(target.package, target.version, "", target.problem)]
    mine = [build for build in builds if (build.package, build.version) == target.key]
    tried = {BuildTarget(build.platform, build.abi_tag) for build in mine}
    more = [each for each in others if each in tried or each in waiting]
    return [_row(target, each, mine, bool(waiting), name) for each in (*own, *more)]


def _row(
    target: Target,
    place: BuildTarget,
    builds: Sequence[BuildRow],
    pending: bool,
    name: Callable[[BuildTarget], str],
) -> Row:
    def row(result: str, seconds: float | None, wheel: str, build_id: int | None = None) -> Row:
        return Row(*target.key, place.abi, result, seconds, wheel, build_id, place.platform)

    if not pythons.supports(target.excluded, place.abi):
        return row(pythons.sentence(target.requires), None, "")._replace(requires=target.requires)
    tried = [build for build in builds if build.abi_tag == place.abi and _may_be(build, place)]
    if own := [build for build in tried if build.counts] or tried:
        last = own[-1]
        if not last.status:
            return _failed_row(row, own)._replace(retry_at=tried[-1].retry_at)
        wheel = _serving([last], place)[1]
        if wheel and target.is_imported:
            return row("upstream wheel", None, wheel)
        result = "built" if wheel else "built again"
        # Two targets may have made the same file: the newest build of it counts.
        wheel = wheel or _serving(builds, place)[1]
        found = row(result, last.duration.total_seconds(), wheel, last.build_id)
        return found._replace(recipe=recipe_phrase(last.recipe))
    maker, wheel = _serving(builds, place)
    if maker is not None:
        return row(f"as {name(maker)}", None, wheel)
    return row("waiting" if pending else "not tried", None, "")


def _failed_row(row: Callable[[str, float | None, str, int], Row], own: Sequence[BuildRow]) -> Row:
    """Return the row of the last failures in *own*: that without a recipe says the most."""
    failed = own[max((at for at, build in enumerate(own, 1) if build.status), default=0) :]
    told = next((build for build in reversed(failed) if not build.recipe), failed[-1])
    found = row(
        FAILED if told.counts else PUT_OFF, told.duration.total_seconds(), "", told.build_id
    )
    diagnosis = Diagnosis(told.reason, told.subject, told.cause)
    others = dict.fromkeys(recipe_phrase(each.recipe) for each in failed if each is not told)
    tried = tuple(phrase for phrase in others if phrase)
    return found._replace(diagnosis=diagnosis, tried=tried)


def _may_be(build: BuildRow, place: BuildTarget) -> bool:
    """Return whether *build* was made on the platform of *place*: that of some is unknown."""
    return not build.platform or place.platform in {build.platform, "any"}


def _serving(builds: Iterable[BuildRow], place: BuildTarget) -> tuple[BuildTarget | None, str]:
    """Return the maker and the name of a file that serves *place*, or ``None`` and ``""``."""
    for build in builds:
        for filename in build.filenames if build.status else ():
            try:
                accepted = serves(parse_filename(filename), place)
            except BadWheel:
                continue
            if accepted:
                return BuildTarget(build.platform, build.abi_tag), filename
    return None, ""


def install_line(url: str, specs: Sequence[str], trusted: str = "") -> str:
    """Return the command that installs *specs* from the index at *url*.

    *trusted* is the host for ``--trusted-host``, if pip needs it.
    """
    trust = f" --trusted-host {trusted}" if trusted else ""
    return f"pip install --index-url {url}{trust} {' '.join(specs)}"


HEADINGS: Final = ("package", "version", "ABI", "result", "seconds", "wheel")


def table(rows: Sequence[Row], name: Callable[[BuildTarget], str]) -> list[str]:
    """Return the lines of the table, headed and aligned. People know a target by its *name*."""
    cells = [HEADINGS, *(_cells(row, name(row.target)) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    lines = [_aligned(line, widths) for line in cells]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _cells(row: Row, target: str) -> tuple[str, ...]:
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    return row.package, clean(row.version, 60), target, clean(row.words), seconds, row.wheel


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    parts = [
        text.rjust(width) if i == HEADINGS.index("seconds") else text.ljust(width)
        for i, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(parts).rstrip()


def installable(targets: Iterable[Target], rows: Collection[Row]) -> list[str]:
    """Return the specs of those *targets* that have a wheel.

    Only one version of a project can be installed: the newest that has a wheel.
    """
    good = {(row.package, row.version) for row in rows if row.has_wheel}
    specs: dict[str, Target] = {}
    for target in targets:
        if target.key in good and not target.needed_by:
            other = specs.setdefault(target.package, target)
            if Version(target.version) > Version(other.version):
                specs[target.package] = target
    return [target.spec for target in specs.values()]
