"""The contents of the Atom feeds (RFC 4287): the builds of all projects, and of each. Pure.

Equal state gives equal bytes: the time of a feed is that of its newest build.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID, uuid5

from piwheels.core.database.rows import EndedBuild
from piwheels.core.site import FEED_SIZE, log_name
from piwheels.master.logic.web_pages import duration_text, reason, summary

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

    *log* is a path relative to the site; *why* is the reason of a failure (``""``: unknown).
    """

    urn: str
    package: str
    title: str
    updated: str
    status: str
    duration: str
    log: str
    why: str


def entries(builds: Iterable[EndedBuild], reasons: Mapping[int, str]) -> list[Entry]:
    """Return the entries for *builds*; *reasons* are those of failed builds, by number."""
    return [_entry(build, reasons.get(build.build_id, "")) for build in builds]


def project_builds(data: ProjectData) -> list[EndedBuild]:
    """Return the builds in a project's feed, newest first."""
    found = [
        EndedBuild(
            build["build_id"], 0, "", data["name"], version, build["abi_tag"],
            build["status"], build["duration"], 0, build["built_at"],
        )
        for version, release in data["releases"].items()
        for build in release["builds"]
    ]  # fmt: skip
    return sorted(found, key=lambda build: build.build_id, reverse=True)[:FEED_SIZE]


def failures(data: ProjectData) -> list[int]:
    """Return the failed builds in a project's feed, by number."""
    return [build.build_id for build in project_builds(data) if not build.status]


def explained(builds: Iterable[EndedBuild], logs: Mapping[int, str]) -> dict[int, str]:
    """Return the reasons of the failed *builds*, by number, from their *logs*."""
    failed = [build.build_id for build in builds if not build.status]
    return {number: reason(logs.get(number, "")) for number in failed}


def updated(listed: Iterable[Entry]) -> str:
    """Return the time of a feed with these entries."""
    return max((entry.updated for entry in listed), default=_NEVER)


def feed_urn(place: str) -> str:
    """Return the identifier of the feed at *place*, on a site without a known address."""
    return uuid5(_SPACE, place).urn


def _entry(build: EndedBuild, why: str) -> Entry:
    ended = build.built_at.astimezone(UTC)
    name, version, abi = (summary(text) for text in (build.package, build.version, build.abi_tag))
    status = "built" if build.status else "failed"
    # The same in each feed, and different on each farm, whatever its address
    facts = (str(build.build_id), ended.isoformat(), name, version, abi)
    return Entry(
        urn=uuid5(_SPACE, "\n".join(facts)).urn,
        package=build.package,
        title=f"{name} {version} {status} for {abi}",
        updated=f"{ended:%Y-%m-%dT%H:%M:%SZ}",
        status=status,
        duration=duration_text(build.duration),
        log=log_name(build.build_id),
        why="" if build.status else why,
    )
