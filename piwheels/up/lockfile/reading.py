"""Reads lock files: pip parses requirements, for the rest there is TOML."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Final

from packaging.pylock import is_valid_pylock_path

from piwheels.core.errors import Fatal
from piwheels.core.host.commands import ask, last_line
from piwheels.up.lockfile import entries
from piwheels.up.lockfile.entries import Line, Lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS: Final = 90.0
#: No lock file is longer, in bytes.
_LONGEST: Final = 64 * 2**20

# pip reads the file with what it includes (-r, -c), its line continuations, encodings, variables.
_LINES: Final = """
import json, sys
from pip._internal.exceptions import PipError
from pip._internal.network.session import PipSession
from pip._internal.req.req_file import RequirementsFileParser, get_line_parser
SAYS = {
    "index_url": "--index-url", "extra_index_urls": "--extra-index-url", "no_index": "--no-index",
    "find_links": "--find-links", "pre": "--pre", "prefer_binary": "--prefer-binary",
}
parser = RequirementsFileParser(PipSession(), get_line_parser(None))
try:
    for line in parser.parse(sys.argv[1], constraint=False):
        opts = line.opts
        place = f"{line.filename}, line {line.lineno}"
        hashes = [f"{name}:{each}" for name, all in (opts.hashes or {}).items() for each in all]
        said = [SAYS[name] for name in SAYS if getattr(opts, name, None)]
        parts = place, line.requirement, line.is_editable, line.constraint, hashes, said
        print(json.dumps(parts))
except UnicodeError:
    sys.exit("it is no text")
except (PipError, OSError) as error:
    sys.exit(str(error))
"""
# The variables of markers (PEP 508), on any Python since 2.7.
_ENVIRONMENT: Final = r"""
import json, os, platform, sys
full = lambda v: "%d.%d.%d" % v[:3] + ("" if v[3] == "final" else v[3][0] + str(v[4]))
implementation = getattr(sys, "implementation", None)
print(json.dumps({
    "implementation_name": getattr(implementation, "name", "cpython"),
    "implementation_version": full(getattr(implementation, "version", sys.version_info)),
    "os_name": os.name, "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": platform.release(), "platform_system": platform.system(),
    "platform_version": platform.version(), "python_full_version": platform.python_version(),
    "python_version": "%d.%d" % sys.version_info[:2], "sys_platform": sys.platform,
}))
"""


def environment(python: Path) -> dict[str, str]:
    """Return the values of the variables of markers (PEP 508) for *python*. Raises ``Fatal``."""
    try:
        answer = ask([python, "-I", "-c", _ENVIRONMENT], _SECONDS)
        return dict(json.loads(answer.stdout))
    except (OSError, subprocess.TimeoutExpired, ValueError, TypeError) as exc:
        raise Fatal(f"the interpreter {python} does not describe itself: {exc}") from exc


def read(path: Path, target: Mapping[str, str]) -> Lock:
    """Return the lock file at *path* for the target with these values of variables of markers.

    Its name tells the format: ``pylock.toml``, ``uv.lock``, else pip's. Raises ``Fatal``.
    """
    try:
        if not path.is_file():
            raise Fatal(f"there is no file {path}: name a lock file in -r")
        if path.stat().st_size > _LONGEST:
            raise Fatal(f"{path} is no lock file: it is larger than 64 MiB")
        if is_valid_pylock_path(path):
            lock = entries.from_pylock(_toml(path), target)
        elif path.name == "uv.lock":
            lock = entries.from_uv(_toml(path), target)
        elif path.suffix == ".toml" or (path.name.endswith(".lock") and _is_toml(path)):
            raise Fatal(
                f"{path} has an unknown format: a pylock.toml, uv.lock or requirements.txt?"
            )
        else:
            lock = entries.from_requirements(_lines(path), target)
    except OSError as exc:
        raise Fatal(f"cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise Fatal(f"{path} cannot be used: {exc}") from exc
    if not lock.entries:
        raise Fatal(f"{path} names nothing that this target needs")
    return lock


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ValueError(f"it is no TOML ({exc})") from None


def _is_toml(path: Path) -> bool:
    try:
        return bool(_toml(path))
    except ValueError:
        return False


def _lines(path: Path) -> list[Line]:
    answer = ask([sys.executable, "-I", "-c", _LINES, str(path)], _SECONDS)
    if answer.returncode:
        raise ValueError(last_line(answer.stderr)[:300] or "pip cannot read it")
    return [Line(*json.loads(line)) for line in answer.stdout.splitlines()]
