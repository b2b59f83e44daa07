"""Questions for pip whose answers may run foreign code, in the sandbox of builds.

piw-up asks (``python -m piwheels.slave.lookups SETTINGS QUESTION...``, each in JSON), and gets a
line of JSON for each answer: its number, and a map. There are two kinds of questions:

* ``{"name": ..., "version": ..., "hashes": [...]}``: what the build of
  the version requires. pip fetches the source; nothing of it runs unless it has one of the hashes.
* ``{"requirements": [...], "constraints": [...]}``: which versions satisfy these lines together.
"""

from __future__ import annotations

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from piwheels.core.diagnosis import last_reason
from piwheels.core.errors import BadWheel, Fatal
from piwheels.core.host.pip_config import default_index, pip_command, pip_settings
from piwheels.core.host.processes import adopt_orphans
from piwheels.core.text import clean
from piwheels.core.wheels.tags import canonical
from piwheels.slave.builder import PIP_OPTIONS, Builder
from piwheels.slave.egress.gate import PORT, Egress, environment
from piwheels.slave.sandbox.choice import choose

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from piwheels.core.wheels.built import Wheel

#: pip's report is not longer, in bytes.
_MAX_REPORT: Final = 64 * 2**20
#: pip's words for a file with a wrong hash, and for a line of a file.
_WRONG_HASH: Final = re.compile(r"DO NOT MATCH THE HASHES.*?\bGot +([0-9a-f]{64,128})", re.DOTALL)
_LINE: Final = re.compile(r"-r \S+ \(line ([0-9]{1,6})\)")


class SourceLookup(Builder):
    """Has pip fetch the source of a version, and all that its build requires.

    *hashes* are the valid ones of the source (empty: any). *answer* has the result.
    """

    def __init__(self, package: str, version: str, *, hashes: Sequence[str], **more: Any) -> None:
        super().__init__(package, version, **more)
        hashed = " ".join(f"--hash={each}" for each in hashes)
        self._is_hashed = bool(hashes)
        #: The file of requirements that pip gets.
        self.lines: Sequence[str] = (f"{package}=={version} {hashed}",)
        self.answer: dict[str, Any] = {}

    def _command(self, pip: Sequence[str], verb: str, inside: Path) -> list[str]:
        command = super()._command(pip, "download", inside)
        if not self._is_hashed:
            return command
        return [*command[:-1], "--require-hashes", f"--requirement={inside / 'tmp/wanted.txt'}"]

    def _prepare(self) -> None:
        super()._prepare()
        self._file("tmp/wanted.txt").write_text("\n".join(self.lines))

    def _file(self, name: str) -> Path:
        assert self._work is not None  # noqa: S101
        return self._work / name

    def _collect(self) -> list[Wheel]:
        self.answer["needs"] = needs_of(
            (fetch.url for fetch in self.fetches if fetch.sha256), self.package
        )
        return []

    def _try_wheels(self) -> None:
        """Do nothing: there are none."""


class Resolution(SourceLookup):
    """Has pip find versions that satisfy *lines* together, within *constraints*."""

    def __init__(self, lines: Sequence[str], constraints: Sequence[str], **more: Any) -> None:
        super().__init__("requirements", "0", hashes=(), **more)
        self.lines = lines
        self._constraints = constraints

    def _prepare(self) -> None:
        super()._prepare()
        self._file("tmp/within.txt").write_text("\n".join(self._constraints))

    def _command(self, pip: Sequence[str], verb: str, inside: Path) -> list[str]:
        return [
            *pip, "install", "--dry-run", "--ignore-installed",
            *(each for each in PIP_OPTIONS if each != "--no-deps"),
            f"--report={inside / 'out/report.json'}", f"--requirement={inside / 'tmp/wanted.txt'}",
            f"--constraint={inside / 'tmp/within.txt'}",
        ]  # fmt: skip

    def _collect(self) -> list[Wheel]:
        with self._file("out/report.json").open("rb") as file:
            text = file.read(_MAX_REPORT)
        try:
            found = json.loads(text)["install"]
            self.answer["found"] = [
                [each["metadata"]["name"], each["metadata"]["version"]] for each in found
            ]
        except (ValueError, LookupError, TypeError) as exc:
            raise BadWheel(f"pip's report cannot be read ({exc!r})") from None
        return []


def needs_of(urls: Iterable[str], package: str) -> list[tuple[str, str]]:
    """Return the projects and versions of the files at *urls*, without *package* itself."""
    found = set()
    for url in urls:
        filename = unquote(urlsplit(url).path.rpartition("/")[2])
        parse = parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename
        try:
            name, version = parse(filename)[:2]
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue  # metadata
        if name != canonical(package):
            found.add((str(name), str(version)))
    return sorted(found)


def _answer(lookup: SourceLookup) -> dict[str, Any]:
    with lookup:
        lookup.run()
        if lookup.status:
            return lookup.answer
        return {"why": why(lookup.output, lookup.lines)}


def why(log: str, lines: Sequence[str] = ()) -> str:
    """Return the reason of pip's failure from its *log*; *lines* were its requirements."""
    if (wrong := _WRONG_HASH.search(log)) is not None:
        return f"its source has the hash {wrong[1]}, which the lock file does not have"
    errors = [line.strip() for line in log.splitlines() if line.startswith("ERROR: ")]
    own = [line for line in errors if "ResolutionImpossible" not in line]
    text = own[0].removeprefix("ERROR: ") if own else last_reason(log)
    text = _LINE.sub(lambda match: lines[int(match[1]) - 1] if lines else match[0], text)
    return clean(text, 300)


def main(settings: str, *questions: str) -> None:
    """Answer *questions*, several at once."""
    given = json.loads(settings)
    python, folder = Path(given["python"]), Path(given["dir"])
    pip = pip_command(python)
    configured = pip_settings(pip)
    if given["is_closed"]:  # the ledger does not have what builds read in folders
        configured.pop("find-links", None)
    index = configured.get("index-url") or default_index()
    egress = Egress(configured, index, frozenset(given["allow_host"]))
    variables = environment(egress, folder, folder, PORT)
    sandbox = choose(given["sandbox"], python, pip, folder, variables, PORT).sandbox
    more: dict[str, Any] = {
        "timeout": timedelta(seconds=given["timeout"]), "dir": folder, "python": python,
        "pip": pip, "sandbox": sandbox, "egress": egress,
    }  # fmt: skip

    def answer(item: tuple[int, str]) -> str:
        question = json.loads(item[1])
        if "requirements" in question:
            lines = question["requirements"], question["constraints"]
            found = _answer(Resolution(*lines, **more))
        else:
            about = question["name"], question["version"]
            found = _answer(SourceLookup(*about, hashes=question["hashes"], **more))
        return json.dumps([item[0], found])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for line in pool.map(answer, enumerate(questions)):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    adopt_orphans()
    try:
        main(*sys.argv[1:])
    except Fatal as exc:
        sys.exit(str(exc))
