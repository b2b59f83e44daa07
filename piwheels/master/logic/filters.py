"""The filter of a project page: by the Python and the architecture of files and builds. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.site import log_name
from piwheels.core.wheels.tags import FLEXIBLE, WheelName, abi_key, parse_if_wheel, serves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.database.rows import ProjectData

_CPYTHON: Final = re.compile(r"cp(\d)(\d+)([a-z]*)", re.ASCII)
_LINUX: Final = re.compile(
    r"(?:linux|manylinux(?:1|2010|2014|_\d+_\d+)|musllinux_\d+_\d+)_(\w+)", re.ASCII
)


class Row(NamedTuple):
    """The ABIs and architectures of a file or build, separated by spaces; ``None``: any."""

    python: str | None
    architecture: str | None


class Filter(NamedTuple):
    """The choices of a project page, each a value and a label; empty if there is only one.

    *rows* are by the name of the file, or the path of the build's log.
    """

    pythons: list[tuple[str, str]]
    architectures: list[tuple[str, str]]
    rows: dict[str, Row]


def page_filter(data: ProjectData, versions: Iterable[str]) -> Filter:
    """Return the filter of the files and builds of these *versions* of a project.

    A build has the architectures of its files, so a failed build has any.
    """
    releases = [data["releases"][version] for version in versions]
    builds = {build["build_id"]: build["abi_tag"] for each in releases for build in each["builds"]}
    files = {name: file["build_id"] for each in releases for name, file in each["files"].items()}
    wheels = {name: wheel for name in files if (wheel := parse_if_wheel(name)) is not None}
    own = {tag for wheel in wheels.values() for tag in wheel.abi.split(".")} - FLEXIBLE
    abis = sorted({*builds.values(), *own}, key=abi_key)
    found = {name: _architectures(wheel) for name, wheel in wheels.items()}
    every = set().union(*found.values())
    pythons = [(abi, _label(abi)) for abi in abis] if len(abis) > 1 else []
    architectures = [(each, each) for each in sorted(every)] if len(every) > 1 else []
    rows = dict.fromkeys(files, Row(None, None))
    made: dict[int, set[str]] = {}
    accepting: dict[tuple[str, ...], str] = {}
    for name, wheel in wheels.items():
        made.setdefault(files[name], set()).update(found[name] or every)
        tags = wheel[3:]
        if pythons and tags not in accepting:  # most files share their tags with others
            accepting[tags] = _words({abi for abi in abis if serves(wheel, abi)})
        rows[name] = Row(accepting.get(tags), _words(found[name]) or None)
    for number, abi in builds.items():
        rows[log_name(number)] = Row(abi, _words(made.get(number, set())) or None)
    return Filter(pythons, architectures, rows)


def _words(values: set[str]) -> str:
    return " ".join(sorted(values))


def _architectures(wheel: WheelName) -> set[str]:
    """Return the architectures that a wheel is for; an empty set: all."""
    tags = wheel.platform.split(".")
    if "any" in tags:
        return set()
    return {match[1] if (match := _LINUX.fullmatch(tag)) else tag for tag in tags}


def _label(abi: str) -> str:
    match = _CPYTHON.fullmatch(abi)
    return f"{match[1]}.{match[2]}{match[3]}" if match else abi
