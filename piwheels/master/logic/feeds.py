"""The contents of the Atom feeds (RFC 4287): the builds of all projects, and of each. Pure.

Equal state gives equal bytes: the time of a feed is that of its newest build.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID, uuid5

from piwheels.core.database.rows import EndedBuild
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.diagnosis.words import is_unknown
from piwheels.core.recipes import recipe_phrase
from piwheels.core.site import FEED_SIZE, log_name
from piwheels.master.logic.web_pages import duration_text, printable, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from piwheels.core.database.rows import ProjectData

#: How many of the farm's builds are read for the feed of all projects.
FARM_SIZE: Final = 60
#: The namespace of the identifiers. If it changed, feed readers would show each build again.
_SPACE: Final = UUID("6f0a1b5e-54c4-4b0e-9d0c-2f3a8f6f1d27")
#: The time of a feed without builds.
_NEVER: Final = "1970-01-01T00:00:00Z"


class Entry(NamedTuple):
    """A build in a feed. *urn* identifies it; *updated* is its end in RFC 3339.

    *log* is a path relative to the site; *why* is the reason of a failure (``""``: unknown),
    *sentence* what to do about it.
    """

    urn: str
    package: str
    title: str
    updated: str
    status: str
    duration: str
    log: str
    why: str
    sentence: str


def entries(builds: Iterable[EndedBuild], ends: Mapping[int, str]) -> list[Entry]:
    """Return the entries for *builds*, without failures of the farm.

    *ends* are the ends of the logs of those in :func:`unexplained`, by number.
    """
    return [_entry(build, ends.get(build.build_id, "")) for build in builds if build.counts]


def project_builds(data: ProjectData) -> list[EndedBuild]:
    """Return the builds in a project's feed, newest first."""
    found = [
        EndedBuild(
            build["build_id"], 0, "", data["name"], version, build["abi_tag"],
            build["status"], build["duration"], 0, build["built_at"], reason=build["reason"],
            subject=build["subject"], cause=build["cause"], recipe=build["recipe"],
        )
        for version, release in data["releases"].items()
        for build in release["builds"]
        if build["counts"]
    ]  # fmt: skip
    return sorted(found, key=lambda build: build.build_id, reverse=True)[:FEED_SIZE]


def unexplained(builds: Iterable[EndedBuild]) -> list[int]:
    """Return the failed *builds* whose cause only their logs may have, by number."""
    return [
        build.build_id for build in builds if not build.status and build.counts and not build.cause
    ]


def updated(listed: Iterable[Entry]) -> str:
    """Return the time of a feed with these entries."""
    return max((entry.updated for entry in listed), default=_NEVER)


def feed_urn(place: str) -> str:
    """Return the identifier of the feed at *place*, on a site without a known address."""
    return uuid5(_SPACE, place).urn


def _entry(build: EndedBuild, end: str) -> Entry:
    ended = build.built_at.astimezone(UTC)
    name, version, abi = (summary(text) for text in (build.package, build.version, build.abi_tag))
    status = "built" if build.status else "failed"
    found = Diagnosis(build.reason, build.subject, build.cause)
    known = not build.status and not is_unknown(found)
    how = " ".join(filter(None, (status, summary(recipe_phrase(build.recipe)))))
    why = f": {found.about.title}" if known else ""
    # The same in each feed, and different on each farm, whatever its address
    facts = (str(build.build_id), ended.isoformat(), name, version, abi)
    return Entry(
        urn=uuid5(_SPACE, "\n".join(facts)).urn,
        package=build.package,
        title=f"{name} {version} {how} for {abi}{why}",
        updated=f"{ended:%Y-%m-%dT%H:%M:%SZ}",
        status=status,
        duration=duration_text(build.duration),
        log=log_name(build.build_id),
        why="" if build.status else printable(build.cause) or end,
        sentence=printable(found.sentence) if known else "",
    )
