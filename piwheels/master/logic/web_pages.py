"""The contents of the project pages and the site-wide pages. Pure: equal state gives equal bytes.

Texts come from untrusted sources. Nothing here is markup; the templates escape every value.
"""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, timedelta
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import quote

from piwheels.core.diagnosis import Diagnosis, excerpt
from piwheels.core.diagnosis.words import is_unknown
from piwheels.core.recipes import recipe_phrase, recipe_words
from piwheels.core.site import log_name
from piwheels.core.states import Trial
from piwheels.core.targets import Target
from piwheels.core.text import ESCAPE
from piwheels.core.wheels.tags import abi_key, parse_if_wheel
from piwheels.core.words import counted, size_text, time_text
from piwheels.master.logic.simple_index import specifier, to_json, version_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from piwheels.core.database.rows import (
        EndedBuild,
        ProjectBuild,
        ProjectData,
        ProjectFile,
        ProjectRelease,
    )
    from piwheels.core.protocols import Why
    from piwheels.core.states import Fetch
    from piwheels.master.logic.wheel_metadata import Metadata

#: How many releases a project page shows in full; older ones only with their state.
FULL: Final = 100
#: For how many releases the page shows the end of the logs of failed builds, and for how many the
#: causes of their failures.
EXPLAINED: Final = 5
CAUSES: Final = 20
#: How many logs are read for this.
MAX_LOGS: Final = 12
#: The size of a failure reason: lines, characters per line; and of the searched end of the log.
_LINES, _WIDTH = 8, 200
_TAIL: Final = 100_000
#: Libraries that apt or the essential packages of Debian need: each machine with apt has them.
ESSENTIAL: Final = frozenset(
    {
        "gcc-12-base", "gcc-13-base", "gcc-14-base", "libacl1", "libattr1", "libblkid1",
        "libbz2-1.0", "libc6", "libcrypt1", "libgcc-s1", "liblzma5", "libmount1", "libpam0g",
        "libselinux1", "libsmartcols1", "libstdc++6", "libsystemd0", "libtinfo6", "libudev1",
        "libuuid1", "libzstd1", "zlib1g",
    }
)  # fmt: skip
#: The colours of badges by what they say; white letters are readable on each.
_GOOD, _BAD, _NEUTRAL = "#1f7a3d", "#b3261e", "#5f6368"
_BADGE: Final = 30
#: How many refused addresses a page names.
_NAMED = 3
#: The class of style of each result.
_MARKS: Final = {"succeeded": "ok", "failed": "failed", "put off": "waiting"}
#: An attempt that is due so early is the next one.
_SOON: Final = timedelta(minutes=1)
UNDIAGNOSED: Final = Diagnosis("")
_PYTHON: Final = re.compile(r"(?:cp|py)([23])(\d{0,3})", re.ASCII)


class FileLine(NamedTuple):
    """A file on a project page; *tags* describe its Python, ABI and platform.

    *trial* says what came of its trial, and whether each part is a warning.
    """

    filename: str
    href: str
    size: str
    sha256: str
    requires_python: str
    apt: str
    tags: list[str]
    trial: list[tuple[str, bool]]


class About(NamedTuple):
    """What a project page says about the release *version*, as its wheel describes it.

    *facts* are labels and texts, *links* labels and addresses. *needs* are the required projects:
    the name, the rest of the requirement, and whether this site has a page of it.
    """

    version: str
    facts: list[tuple[str, str]]
    links: list[tuple[str, str]]
    needs: list[tuple[str, str, bool]]


class FetchLine(NamedTuple):
    """What a build fetched, or was refused, with details: size and SHA-256, or the reason."""

    url: str
    is_refused: bool
    about: str


class FailureLine(NamedTuple):
    """Why a build failed: the *title* of its class, and the *page* that explains it.

    *title* and *page* are ``""`` if nobody knows the class, *cause* and *why* (the lines of the log
    around it) if they are not shown. *page* is relative to the site.
    """

    title: str
    page: str
    sentence: str
    cause: str
    why: str


class BuildLine(NamedTuple):
    """A build on a project page.

    *result* is one of: succeeded, failed, put off; *mark* its class of style. *how* says what its
    recipe changed, *fault* why a failure does not count, *again* what follows it (``""``: nothing).
    *log* is a path relative to the site. *network* says what it fetched and was refused (``""``:
    nothing), *fetches* has the details.
    """

    abi: str
    result: str
    mark: str
    how: str
    fault: str
    when: str
    duration: str
    log: str
    failure: FailureLine | None
    network: str
    fetches: list[FetchLine]
    again: str


class ReleaseBlock(NamedTuple):
    """A release on a project page.

    *state* is one of: built, failed, waiting, skipped, quarantined.
    *yank_reason* and *skip* are ``""`` without a reason. *yanked_by* says who yanked it.
    *marks* are the ABIs with builds, each with the class of style of its last build. *how* says
    what the recipes of its files changed, *lacks* for which targets it has no wheel, and why.
    """

    version: str
    released: str
    state: str
    yanked: bool
    yanked_by: str
    yank_reason: str
    skip: str
    files: list[FileLine]
    builds: list[BuildLine]
    marks: list[tuple[str, str]]
    how: list[str]
    lacks: list[tuple[str, str]]


class Recent(NamedTuple):
    """A recent successful build on the home page."""

    package: str
    version: str
    abis: str
    when: str
    moment: str


class AbiLine(NamedTuple):
    """The recent builds for an ABI; *share* is the success rate in percent."""

    abi: str
    succeeded: int
    failed: int
    share: str
    waiting: int


class Day(NamedTuple):
    """A bar of the download chart; *height* is 0 to 100."""

    day: str
    downloads: int
    height: float


# Project page -------------------------------------------------------------------------------------


def offered(data: ProjectData) -> ProjectData:
    """Return *data*, without files if the project is in quarantine."""
    if data["status"] != "quarantined":
        return data
    bare = {version: {**release, "files": {}} for version, release in data["releases"].items()}
    return {**data, "releases": cast("dict[str, ProjectRelease]", bare)}


def release_blocks(
    data: ProjectData,
    ends: Mapping[int, str],
    fetches: Mapping[int, Sequence[Fetch]] = MappingProxyType({}),
    answers: Iterable[Why] = (),
) -> list[ReleaseBlock]:
    """Return the releases of a project, newest first, with their files and builds.

    *ends* are what :func:`reason` returns for the builds in :func:`unexplained`, *fetches* what the
    builds in :func:`newest_builds` fetched, *answers* those of
    :func:`piwheels.master.logic.why.why`.
    """
    lacks = _lacks(answers)
    return [
        _release_block(
            data,
            version,
            release,
            ends,
            fetches,
            lacks=lacks.get(version, []),
            has_causes=place < CAUSES,
        )
        for place, (version, release) in enumerate(_releases(data))
    ]


def _lacks(answers: Iterable[Why]) -> dict[str, list[tuple[str, str]]]:
    """Return the targets without a wheel and the reasons, by version; equal reasons are one."""
    found: dict[str, dict[str, list[str]]] = {}
    for answer in answers:
        if answer.state != "built":
            texts = found.setdefault(answer.version, {})
            texts.setdefault(answer.text, []).append(answer.target.words)
    return {
        version: [(", ".join(targets), text) for text, targets in texts.items()]
        for version, texts in found.items()
    }


def recipe_text(data: ProjectData) -> str:
    """Return how builds of the project begin, for people; ``""``: as others do."""
    recipe = data["recipe"]
    if recipe is None or not (words := recipe_words(recipe["content"])):
        return ""
    who = "an operator has written it" if recipe["by_operator"] else "found by the farm"
    return f"{'; '.join(words)} ({who})"


def newest_builds(data: ProjectData) -> list[int]:
    """Return the builds of the newest releases: the page lists what they fetched."""
    newest = [release for _, release in _releases(data)[:EXPLAINED]]
    return [build["build_id"] for release in newest for build in release["builds"]]


def unexplained(data: ProjectData) -> dict[int, Diagnosis]:
    """Return the failed builds of which lines of the log are shown, with their diagnoses.

    They are the last for each target of the newest releases.
    """
    newest = [release for _, release in _releases(data)[:EXPLAINED]]
    failed = [
        (build["build_id"], diagnosis_of(build))
        for release in newest
        for build in _last_builds(release).values()
        if not build["status"]
    ]
    return dict(failed[:MAX_LOGS])


def reason(log: str, diagnosis: Diagnosis = UNDIAGNOSED) -> str:
    """Return the lines of a failed build's *log* around the cause of *diagnosis*.

    Without a cause, they are those at its end that most likely contain the reason.
    """
    known = diagnosis.cause and diagnosis.cause in log
    plain = log if known else ESCAPE.sub("", log[-_TAIL:])
    lines = [_shown(line) for line in excerpt(plain, diagnosis, _LINES)]
    return textwrap.dedent("\n".join(lines)).strip("\n")


def diagnosis_of(build: ProjectBuild) -> Diagnosis:
    """Return why *build* failed, as far as the database knows."""
    return Diagnosis(build["reason"], build["subject"], build["cause"])


def builds_json(
    data: ProjectData,
    version: str = "",
    metadata: Metadata | None = None,
    site_url: str = "",
    index: str = "",
    *,
    answers: Iterable[Why] = (),
) -> bytes:
    """Return a project page as JSON; *metadata* is that of the release *version*.

    *answers* are as for :func:`release_blocks`.

    *index* is the address of the upstream index (PEP 503), next to whose pages are those of
    projects.

    Times are in RFC 3339 and UTC, durations in seconds, sizes in bytes. ``json.html`` documents
    each key. It also has the keys of piwheels 0.23, under which its programs read the same values.
    """
    made = {key: value for key, value in data.items() if key != "releases"}
    made["metadata"] = None
    if metadata is not None:
        fields = metadata._asdict()
        del fields["needs"]  # equal to some of requires_dist
        made["metadata"] = {"version": version, **fields}
    name = data["name"]
    earlier = {
        "package": name,
        "summary": data["description"],
        "pypi_url": index and f"{index.rstrip('/').removesuffix('/simple')}/project/{name}",
        "piwheels_url": site_url and f"{site_url}project/{name}",
    }
    said: dict[str, list[dict[str, Any]]] = {}
    for each in answers:
        about = {name: getattr(each, name) for name in ("platform", "abi", "state", "text")}
        said.setdefault(each.version, []).append(about | {"build_id": each.build_id or None})
    releases = {
        key: _release_json(key, release) | {"why": said.get(key, [])}
        for key, release in _releases(data)
    }
    return to_json({**made, **earlier, "releases": releases})


def _release_json(version: str, release: ProjectRelease) -> dict[str, Any]:
    """Return a *release* with the keys of piwheels 0.23 in addition to ours."""
    return {
        **release,
        "builds": [
            {**build, "sentence": "" if build["status"] else diagnosis_of(build).sentence}
            for build in release["builds"]
        ],
        "released": f"{release['released'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "prerelease": version_key(version)[1].is_prerelease,
        "skip_reason": release["skip"],
        "files": {
            filename: {
                **file,
                "filehash": file["hash"],
                "filesize": file["size"],
                "builder_abi": file["abi_builder"],
                "file_abi_tag": file["file_abi"],
            }
            for filename, file in release["files"].items()
        },
    }


def about(
    best: ReleaseBlock, metadata: Metadata, has_page: Callable[[str], bool] = lambda _: False
) -> About:
    """Return what to show of the *metadata* of the release *best*."""
    tags = {tag for file in best.files for tag in _python_tags(file.filename)}
    pythons = dict.fromkeys(map(_python_word, sorted(tags, key=abi_key)))
    facts = (
        ("License", metadata.license),
        ("Author", ", ".join(metadata.authors)),
        ("Maintainer", ", ".join(metadata.maintainers)),
        ("Requires Python", metadata.requires_python),
        ("Built for Python", ", ".join(pythons)),
        ("Extras", ", ".join(metadata.provides_extra)),
        ("Keywords", ", ".join(metadata.keywords)),
    )
    return About(
        best.version,
        [(label, text) for label, text in facts if text],
        list(metadata.links),
        [(name, rest, has_page(name)) for name, rest in metadata.needs],
    )


def chosen(data: ProjectData) -> tuple[str, list[str]] | None:
    """Return the version that installers choose, and the names of its files, sorted.

    It is that of :func:`install_version`.
    """
    offers = [(version, release) for version, release in _releases(data) if release["files"]]
    best = min(offers, key=lambda each: _doubts(each[0], each[1]["yanked"]), default=None)
    return best and (best[0], sorted(best[1]["files"]))


def install_version(releases: Iterable[ReleaseBlock]) -> ReleaseBlock | None:
    """Return the release that installers choose: the newest final one that is not yanked."""
    offers = (release for release in releases if release.files)
    # Of equally good releases, min returns the first: the newest
    return min(offers, key=lambda each: _doubts(each.version, each.yanked), default=None)


def _doubts(version: str, yanked: bool) -> tuple[bool, bool]:
    return yanked, version_key(version)[1].is_prerelease


def badge(data: ProjectData) -> tuple[str, str]:
    """Return the text of a project's badge and its colour.

    It says which version installers get here, or why they get none.
    """
    if data["status"] == "quarantined":
        return "quarantined", _BAD
    releases = release_blocks(data, {})
    if best := install_version(releases):
        version = best.version
        return version if len(version) <= _BADGE else f"{version[: _BADGE - 1]}…", _GOOD
    state = next((release.state for release in releases), "no releases")
    return state, _BAD if state in {"failed", "quarantined"} else _NEUTRAL


def _releases(data: ProjectData) -> list[tuple[str, ProjectRelease]]:
    return sorted(data["releases"].items(), key=lambda item: version_key(item[0]), reverse=True)


def _last_builds(release: ProjectRelease) -> dict[str, ProjectBuild]:
    """Return the last build for each target; failures of the farm only if there is no other."""
    found: dict[str, ProjectBuild] = {}
    for build in _builds(release):
        words = target_words(build)
        if build["counts"] or not found.get(words, build)["counts"]:
            found[words] = build
    return found


def _builds(release: ProjectRelease) -> list[ProjectBuild]:
    def order(build: ProjectBuild) -> tuple[Any, ...]:
        return abi_key(build["abi_tag"]), build["platform"], build["build_id"]

    return sorted(release["builds"], key=order)


def target_words(build: ProjectBuild) -> str:
    """Return for what *build* was made: ``cp311 armv7l``; without its machine if it is unknown."""
    return Target(build["platform"], build["abi_tag"]).words


def _release_block(
    data: ProjectData,
    version: str,
    release: ProjectRelease,
    ends: Mapping[int, str],
    fetches: Mapping[int, Sequence[Fetch]],
    *,
    lacks: list[tuple[str, str]],
    has_causes: bool,
) -> ReleaseBlock:
    builds, last = _builds(release), _last_builds(release)
    skip = release["skip"] or data["skip"]
    if release["quarantined"] or data["status"] == "quarantined":
        state = "quarantined"
    elif release["files"]:
        state = "built"
    elif skip:
        state = "skipped"
    elif any(
        _result(build) == "failed" and build["abi_tag"] not in release["excluded"]
        for build in builds
    ):
        state = "failed"
    else:
        state = "waiting"
    return ReleaseBlock(
        version=version,
        released=f"{release['released'].astimezone(UTC):%Y-%m-%d}",
        state=state,
        yanked=release["yanked"],
        yanked_by="upstream" if release["yanked_upstream"] else "by this farm's operator",
        yank_reason=release["yank_reason"].strip() if release["yanked"] else "",
        skip=skip,
        files=[_file_line(name, file) for name, file in sorted(release["files"].items())],
        builds=[
            _build_line(
                build,
                ends.get(build["build_id"], ""),
                fetches.get(build["build_id"], ()),
                is_last=build in last.values(),
                has_cause=has_causes,
            )
            for build in builds
        ],
        marks=[
            (abi, _MARKS[_result(build)])
            for abi, build in last.items()
            if build["status"] or build["abi_tag"] not in release["excluded"]
        ],
        how=sorted(_phrases(release)),
        lacks=lacks,
    )


def _phrases(release: ProjectRelease) -> set[str]:
    """Return how the files of a release were made that need a recipe."""
    made = {file["build_id"] for file in release["files"].values()}
    builds = [build for build in release["builds"] if build["build_id"] in made]
    return {phrase for build in builds if (phrase := recipe_phrase(build["recipe"]))}


def _result(build: ProjectBuild) -> str:
    if build["status"]:
        return "succeeded"
    return "failed" if build["counts"] else "put off"


def _file_line(name: str, file: ProjectFile) -> FileLine:
    return FileLine(
        filename=name,
        href=quote(name),
        size=size_text(file["size"]),
        sha256=file["hash"],
        requires_python=specifier(file["requires_python"]) or "",
        apt=" ".join(sorted(set(file["apt_dependencies"]) - ESSENTIAL)),
        tags=tag_words(name),
        trial=_trial(name, file).words,
    )


def _trial(name: str, file: ProjectFile) -> Trial:
    about = file["installs"], file["imports"], file["trial_why"], file["connects"], file["starts"]
    return Trial(name, *about)


def _build_line(
    build: ProjectBuild, end: str, fetches: Sequence[Fetch], *, is_last: bool, has_cause: bool
) -> BuildLine:
    result = _result(build)
    return BuildLine(
        abi=target_words(build),
        result=result,
        mark=_MARKS[result],
        how=recipe_phrase(build["recipe"]),
        fault=_fault_text(build) if result == "put off" else "",
        when=time_text(build["built_at"]),
        duration=duration_text(build["duration"]),
        log=log_name(build["build_id"]),
        failure=None if build["status"] else _failure_line(build, end, has_cause=has_cause),
        network=network_text(build["fetched"], build["refused"]),
        fetches=[_fetch_line(fetch) for fetch in fetches],
        again=_again_text(build, is_last=is_last),
    )


def _failure_line(build: ProjectBuild, end: str, *, has_cause: bool) -> FailureLine:
    found = diagnosis_of(build)
    cause = printable(found.cause) if has_cause else ""
    shown = cause if cause not in end else ""
    if is_unknown(found):
        return FailureLine("", "", "", shown, end)
    about, sentence = found.about, printable(found.sentence)
    return FailureLine(about.title, about.page, sentence, shown, end)


def _fault_text(build: ProjectBuild) -> str:
    """Return where a build failed that does not count, and who is at fault."""
    where = f"on {printable(build['label'])} " if build["label"] else ""
    farm = diagnosis_of(build).about.fault == "farm"
    return f"{where}({'the fault of the farm' if farm else 'its slave is in quarantine'})"


def _again_text(build: ProjectBuild, *, is_last: bool) -> str:
    """Return what follows a failed build."""
    following, ended = build["next"], build["built_at"]
    if following is not None:
        phrase = recipe_phrase(following["recipe"])
        due = following["due"]
        if due is None:
            return " ".join(filter(None, ("waits until an operator has it tried again", phrase)))
        when = "next" if due - ended < _SOON else f"after {time_text(due)}"
        return " ".join(filter(None, ("to be tried again", phrase, when)))
    if build["retry_at"] is None or not is_last or _result(build) != "failed":
        return ""
    when = time_text(build["retry_at"])
    return f"to be tried again by another slave, or after {when} by the same"


def network_text(fetched: int, refused: Sequence[str]) -> str:
    """Return what a build did with the network: the number of files, and what it was refused."""
    parts = [f"fetched {counted(fetched, 'file')}"] if fetched else []
    names = [name.removesuffix(":443") for name in refused]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        parts.append(f"asked for {', '.join(names[:_NAMED])}{more}: refused")
    return "; ".join(parts)


def _fetch_line(fetch: Fetch) -> FetchLine:
    about = fetch.refused or " ".join((size_text(fetch.size), fetch.sha256 or "")).strip()
    return FetchLine(fetch.url, bool(fetch.refused), about)


def summary(description: str) -> str:
    """Return a project's *description* as one short line, for the head of its page."""
    return " ".join(_shown(description).split())


def _shown(line: str) -> str:
    line = printable(line[: 2 * _WIDTH])
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def printable(line: str) -> str:
    """Return foreign text as one line that can be shown."""
    return "".join(char if char.isprintable() else " " for char in line).rstrip()


def tag_words(filename: str) -> list[str]:
    """Describe where a wheel runs, by its file name; an empty list for any other name."""
    name = parse_if_wheel(filename)
    if name is None:
        return []
    pythons = [_python_word(tag) for tag in name.py.split(".")]
    words = [f"Python {', '.join(dict.fromkeys(pythons))}"]
    if name.abi not in {"none", name.py}:
        words.append(name.abi.replace(".", ", "))
    words.append("any machine" if name.platform == "any" else name.platform.replace(".", ", "))
    return words


def _python_tags(filename: str) -> list[str]:
    name = parse_if_wheel(filename)
    return [] if name is None else name.py.split(".")


def _python_word(tag: str) -> str:
    match = _PYTHON.fullmatch(tag)
    return tag if match is None else ".".join(part for part in match.groups() if part)


# Home page and stats ------------------------------------------------------------------------------


def home_facts(stats: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the labels and values for the home page; what is unknown or zero is left out."""
    return _facts(stats, _HOME)


def farm_facts(stats: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the labels and values for the stats page; what is unknown or zero is left out."""
    return _facts(stats, (*_HOME, *_MORE))


def recent_builds(builds: Iterable[EndedBuild], known: Mapping[str, object]) -> list[Recent]:
    """Return the last successful *builds* of *known* packages, each release once, newest first."""
    good = [build for build in builds if build.status and build.files and build.package in known]
    made = []
    for (package, version), some in groupby(good, key=lambda build: (build.package, build.version)):
        group = list(some)
        moment = group[0].built_at.astimezone(UTC)
        abis = ", ".join(sorted({build.abi_tag for build in group}, key=abi_key))
        when, exact = f"{moment:%d %b %H:%M}", f"{moment:%Y-%m-%dT%H:%MZ}"
        made.append(Recent(package, version, abis, when, exact))
    return made


def abi_lines(built: Mapping[str, tuple[int, int]], waiting: Mapping[str, int]) -> list[AbiLine]:
    """Return a line for each ABI from *built* (succeeded, failed) and *waiting*."""
    made = []
    for abi in sorted({*built, *waiting}, key=abi_key):
        good, bad = built.get(abi, (0, 0))
        share = f"{100 * good / (good + bad):.0f} %" if good + bad else ""
        made.append(AbiLine(abi, good, bad, share, waiting.get(abi, 0)))
    return made


def days(downloads: Mapping[str, int]) -> list[Day]:
    """Return the bars of the download chart from *downloads* by ISO date, oldest first.

    Without any download there is no chart.
    """
    highest = max(downloads.values(), default=0)
    if not highest:
        return []
    return [
        Day(day, number, round(100 * number / highest, 1))
        for day, number in sorted(downloads.items())
    ]


def duration_text(duration: timedelta) -> str:
    """Format a *duration* for people: ``2 h 5 min``."""
    seconds = max(0, round(duration.total_seconds()))
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days:,} d {hour} h"
    if hours:
        return f"{hour} h {minute} min"
    return f"{minute} min {second} s" if minutes else f"{second} s"


def count_text(number: int) -> str:
    """Format a *number* for people: ``1,234``."""
    return f"{number:,}"


def _total(numbers: Mapping[str, int]) -> str:
    return count_text(sum(numbers.values()))


def _facts(stats: Mapping[str, Any], table: Iterable[Any]) -> list[tuple[str, str]]:
    return [
        (word, show(stats[name]))
        for name, type_, word, show in table
        if type(stats.get(name)) is type_ and _says_something(stats[name])
    ]


def _says_something(value: Any) -> bool:
    return any(value.values()) if isinstance(value, dict) else bool(value)


#: Statistics: the name in MasterStats, its type, the label, the format.
_HOME: Final = (
    ("packages_built", int, "packages", count_text),
    ("files_count", int, "wheels", count_text),
    ("builds_size", int, "total size", size_text),
    ("builds_time", timedelta, "build time", duration_text),
    ("downloads_last_month", int, "downloads in the last 30 days", count_text),
)
_MORE: Final = (
    ("downloads_all", int, "downloads in total", count_text),
    ("downloads_last_hour", int, "downloads in the last hour", count_text),
    ("new_last_hour", int, "new releases in the last hour", count_text),
    ("builds_last_hour", dict, "builds in the last hour", _total),
    ("builds_pending", dict, "releases waiting", _total),
    ("disk_free", int, "free disk space", size_text),
)
