"""Makes the tables of a release of Debian: ``python -m piwheels.core.debian.make RELEASE [SUITE]``.

It needs a Debian machine and the network, about two minutes, and 2 GB of memory. apt fetches and
verifies the lists, from the mirrors of this machine. *SUITE* is another name of the release that
the mirror has (``stable``). :mod:`~piwheels.core.debian.contents` describes them.

The order of the packages is that of preference: first those that more packages depend on; those for
other machines, and what is old, are left out or last. A package that exists only to depend on
another version of itself (``libboost-dev``) stands for it.
"""

from __future__ import annotations

import lzma
import re
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.debian.contents import EMPTY, is_deep, table_path
from piwheels.core.host.apt import Apt, sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SETTINGS: Final = """
Acquire::IndexTargets::deb::Contents-deb {
  MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)"; ShortDescription "Contents";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents"; PDiffs "false";
};
"""
#: Where packages have things: the kind, and a pattern of the folder and the name.
_PLACES: Final = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("program", r"(?:usr/)?s?bin(?P<folder>)/(?P<name>[^/]+)"),
        ("pkgconfig", r"usr/(?:lib|share)/(?P<folder>(?:[^/]+/)*)pkgconfig/(?P<name>[^/]+)\.pc"),
        ("library", r"usr/lib/(?P<folder>(?:[^/]+/){0,3})lib(?P<name>[^/]+)\.(?:so|a)"),
        ("cmake", r"usr/(?:lib|share)/(?P<folder>.*)/(?P<name>[^/]+?)(?:-c|C)onfig\.cmake"),
        ("header", r"usr/(?:lib/(?:[^/]+/){1,3})?include(?P<folder>/.*)?/(?P<name>[^/]+)"),
    )
)
_TRIPLET: Final = re.compile(r"(?:^|/)x86_64-linux-gnu(?=/|$)")
#: Packages for other machines than the one that has them, or for their own builds only.
_LEFT_OUT: Final = re.compile(
    r".*(?:mingw|-none-eabi|-wasm32|emscripten).*|(?:android|linux-headers|r-cran|r-bioc)-.*"
    r"|.*(?:-cross|-private(?:-gles)?-dev|-gles-dev|-dbg|-udeb)|(?:dietlibc|klibc|libklibc).*"
    r"|.*-(?:avr|m68hc1x|xtensa|msp430|or1k)(?:-.*)?"
)
_VERSION: Final = re.compile(r"[0-9][0-9.]*")


class _Package(NamedTuple):
    """What the list of packages says about one: the names in its ``Depends``, and its section."""

    depends: tuple[str, ...]
    section: str


def main(release: str, suite: str = "") -> None:
    """Make the tables of *release*. Raises ``LookupError``."""
    with tempfile.TemporaryDirectory() as folder:
        lines = sources(suite or release)[:1]
        apt = Apt(Path(folder), ["amd64"], lines, _SETTINGS)
        apt.update()
        release_says = apt.run("apt-get", "indextargets", "--format", "$(CODENAME)").split()
        if set(release_says) != {release}:
            raise LookupError(f"the mirror has {release_says or 'nothing'}, not {release}")
        packages = dict(_packages("".join(apt.lists("Created-By: Packages"))))
        contents = apt.lists("Created-By: Contents-deb")
    rows = _rows(line for text in contents for line in text.split("\n"))
    for kind, lines in _tables(rows, packages).items():
        path = table_path(release, kind)
        path.write_bytes(lzma.compress("".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))
        print(path, path.stat().st_size)  # noqa: T201 (it is a program)


def _packages(text: str) -> Iterator[tuple[str, _Package]]:
    for paragraph in text.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in paragraph.split("\n"))
        depends = re.findall(r"(?:^|[,|] ?)([a-z0-9][a-z0-9+.-]+)", fields.get("Depends", ""))
        if name := fields.get("Package"):
            yield name, _Package(tuple(depends), fields.get("Section", ""))


def _rows(lines: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield package, kind, folder and name of each thing in the *lines* of the contents."""
    for line in lines:
        path, _, places = line.rpartition(" ")
        if " " in (path := path.rstrip()):
            continue
        for kind, pattern in _PLACES:
            if not (match := pattern.fullmatch(path)):
                continue
            folder, name = _TRIPLET.sub("", match["folder"] or "").strip("/"), match["name"]
            if kind == "header" and is_deep(folder):
                name = ""
            elif kind == "cmake":
                name, folder = name.lower(), ""
            for place in places.split(","):
                package = place.rpartition("/")[2]
                if not _LEFT_OUT.fullmatch(package):
                    yield package, kind, folder, name


def _tables(
    rows: Iterable[tuple[str, str, str, str]], about: dict[str, _Package]
) -> dict[str, list[str]]:
    """Return the lines of each kind, in the order of preference."""
    found: dict[str, dict[tuple[str, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    for package, kind, folder, name in rows:
        if package in about:
            found[package][kind, folder].add(name)
    users = Counter(name for each in about.values() for name in set(each.depends))
    names = {name: name for name in found}
    for package, (depends, section) in about.items():
        is_empty = package not in found and section in ("libdevel", "devel")
        if is_empty and len(depends) == 1 and _is_version(depends[0], package):
            names[depends[0]] = package
            users[depends[0]] += users[package]

    def preference(package: str) -> tuple[bool, bool, int, str]:
        is_development = package.endswith("-dev") or about[package].section in ("libdevel", "devel")
        return about[package].section == "oldlibs", not is_development, -users[package], package

    tables: dict[str, list[str]] = defaultdict(list)
    for package in sorted(found, key=preference):
        for (kind, folder), things in sorted(found[package].items()):
            listed = " ".join(sorted(things - {""}))
            tables[kind].append(f"{names[package]}\t{folder or EMPTY}\t {listed} \n")
    return tables


def _is_version(package: str, name: str) -> bool:
    """Return whether *package* has the *name* of another one with a version in it."""
    plain, other = (_VERSION.sub("", each).removesuffix("-dev") for each in (name, package))
    return len(name) < len(package) and other.startswith(plain)


if __name__ == "__main__":
    main(*sys.argv[1:])
