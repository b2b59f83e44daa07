"""The output of pip: always the same for the same build, so that it need not be stored."""

from __future__ import annotations

from bisect import bisect_right
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.console.simulate.inventory import PROJECTS
from piwheels.core.diagnosis import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Iterator

_MINUTES: Final = {project.name: project.minutes for project in PROJECTS}
_UNITS: Final = (
    "array", "buffer", "codec", "convert", "core", "dispatch", "errors", "hash", "index", "io",
    "kernel", "linalg", "memory", "module", "parser", "random", "reduce", "scalar", "sort", "table",
    "types", "umath", "unicode", "util", "vector",
)  # fmt: skip
_SOURCE: Final = "src/core.c:217:10: "
#: Why builds fail.
_FAILURES: Final = (
    Diagnosis("missing-header", "ffi.h", f"{_SOURCE}fatal error: ffi.h: No such file or directory"),
    Diagnosis("compile-error", "use_tracing",
              f"{_SOURCE}error: 'struct _ts' has no member named 'use_tracing'"),
    Diagnosis("missing-header", "openssl/ssl.h",
              f"{_SOURCE}fatal error: openssl/ssl.h: No such file or directory"),
    Diagnosis("disk-full", "", "error: could not write 'core.o': No space left on device"),
    Diagnosis("tools-too-new", "setuptools<58", "error in setup command: use_2to3 is invalid."),
    Diagnosis("missing-library", "boost_python",
              "/usr/bin/ld: cannot find -lboost_python: No such file or directory"),
)  # fmt: skip


class BuildLog(NamedTuple):
    """A log: its *text*, and its length (*ends*) after each fraction of the build (*parts*)."""

    text: str
    parts: list[float]
    ends: list[int]

    def length_at(self, part: float) -> int:
        """Return the length of the log, in characters, after *part* (0 to 1) of the build."""
        index = bisect_right(self.parts, part)
        return self.ends[index - 1] if index else 0


def diagnosis_of(number: int) -> Diagnosis:
    """Return why build *number* fails, if it does."""
    return _FAILURES[number % len(_FAILURES)]


def build_log(number: int, package: str, version: str, *, ok: bool, hostile: bool) -> BuildLog:
    """Return the log of build *number*; packages that take long have long logs."""
    random = Random(number)  # noqa: S311 (a game)
    lines = int(20 + 25 * _MINUTES.get(package, 1))
    text: list[str] = []
    parts: list[float] = []
    ends: list[int] = []
    size = 0
    cause = "" if ok else diagnosis_of(number).cause
    for part, line in _lines(random, package, version, cause, lines=lines, hostile=hostile):
        text.append(line)
        size += len(line)
        parts.append(part)
        ends.append(size)
    return BuildLog("".join(text), parts, ends)


def _lines(
    random: Random, package: str, version: str, cause: str, *, lines: int, hostile: bool
) -> Iterator[tuple[float, str]]:
    size = random.randrange(200, 9000)
    source = f"{package.replace('-', '_')}-{version}.tar.gz"
    yield 0.0, "Looking in indexes: https://index.example/simple\n"
    yield 0.0, f"Collecting {package}=={version}\n"
    yield 0.005, f"  Downloading {source} ({size / 1000:.1f} MB)\n"
    for step in range(1, 9):
        bar = "━" * (5 * step) + " " * (40 - 5 * step)
        end = "\n" if step == 8 else "\r"
        yield 0.005 + step / 1000, f"     {bar} {size * step / 8000:.1f}/{size / 1000:.1f} MB{end}"
    yield 0.02, "  Installing build dependencies: started\n"
    yield 0.05, "  Installing build dependencies: finished with status 'done'\n"
    yield 0.06, "  Getting requirements to build wheel: finished with status 'done'\n"
    yield 0.07, "  Preparing metadata (pyproject.toml): finished with status 'done'\n"
    yield 0.08, f"Building wheels for collected packages: {package}\n"
    yield 0.08, f"  Building wheel for {package} (pyproject.toml): started\n"
    for index in range(lines):
        yield 0.08 + 0.9 * index / lines, _compile(random, package, index, lines)
        if hostile and index % 7 == 0:
            yield (
                0.08 + 0.9 * index / lines,
                "[red]\x1b[31;1m\x1b]0;owned\x07\u202e[/] \x08\x9b2J\n",
            )
    wheel = f"{package.replace('-', '_')}-{version}-cp311-cp311-linux_aarch64.whl"
    if not cause:
        yield (
            0.985,
            f"  Building wheel for {package} (pyproject.toml): finished with status 'done'\n",
        )
        yield 0.99, f"  Created wheel for {package}: filename={wheel} size={size * 700}\n"
        yield 0.995, "  Stored in directory: /tmp/pip-ephem-wheel-cache\n"
        yield 0.998, f"Successfully built {package}\n"
        return
    yield 0.985, f"      {cause}\n"
    yield 0.985, "      compilation terminated.\n"
    yield 0.985, "      error: command '/usr/bin/gcc' failed with exit code 1\n"
    yield 0.99, f"  Building wheel for {package} (pyproject.toml): finished with status 'error'\n"
    yield 0.995, f"  ERROR: Failed building wheel for {package}\n"
    yield 0.998, "ERROR: Failed to build one or more wheels\n"


def _compile(random: Random, package: str, index: int, lines: int) -> str:
    unit = random.choice(_UNITS)
    name = package.replace("-", "_")
    if random.random() < 0.08:
        line = random.randrange(20, 900)
        return f"      src/{name}/{unit}.c:{line}:7: warning: unused variable 'n' [-Wunused]\n"
    if random.random() < 0.1:
        return f"      copying {name}/{unit}.py -> build/lib.linux-aarch64/{name}\n"
    return (
        f"      [{index + 1}/{lines}] gcc -pthread -O2 -Wall -fPIC -Iinclude -c"
        f" src/{name}/{unit}.c -o build/temp.linux-aarch64/{unit}.o\n"
    )
