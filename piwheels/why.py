"""piw-why: why there is no wheel of a version."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (the type of an option)
from typing import TYPE_CHECKING

from piwheels.core.keys.options import farm_of, key_option, master_key_option
from piwheels.core.program.admin import explaining, package_option, queue_option, version_option
from piwheels.core.program.command_line import Common, option, program
from piwheels.core.program.report import Report, json_option
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.core.protocols import Why


def _python(text: str) -> str:
    """Return *text* if it is a version of Python. Raises ``ValueError``."""
    if not re.fullmatch(r"[23]\.[0-9]{1,2}t?", text, re.ASCII):
        raise ValueError(f"{text!r} is not a version of Python: write 3.13, or 3.13t")
    return text


@dataclass(frozen=True, kw_only=True)
class WhyConfig(Common):
    """Say why there is no wheel of a package: a line for each version and target."""

    package: str = package_option()
    version: str = version_option("the version; without it, the newest 100 of them")
    python: str = option(
        default="", metavar="X.Y", parse=_python, help="only for this version of Python"
    )
    json: bool = json_option()
    import_queue: str = queue_option()
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()


@program(
    "piw-why",
    WhyConfig,
    examples=[
        ("piw-why pyaudio", "what there is of each version, or what it lacks"),
        ("piw-why pyaudio 0.2.14", "one version, with the decisive lines of the logs"),
        ("piw-why pyaudio --python 3.13 --json", "for one Python, as JSON"),
    ],
)
def main(config: WhyConfig) -> int:
    """Run ``piw-why``."""
    with farm_of(config) as farm, explaining(config.package, config.version):
        answer = farm.why(config.package, config.version)
    report = Report(config)
    lines = [line for line in answer.lines if _is_for(config.python, line.abi)]
    for line in lines:
        report.record(
            event="why", package=config.package, version=line.version, target=str(line.target),
            state=line.state, message=line.text, cause=line.detail, build=line.build_id or None,
        )  # fmt: skip
    if answer.left_out:
        text = f"{counted(answer.left_out, 'older version')} left out: name a version"
        report.record(event="left-out", versions=answer.left_out, message=text)
    if config.json or config.quiet:
        return 0
    if not lines:
        which = f" with Python {config.python}" if config.python else ""
        sys.stdout.write(f"the farm builds for no target{which}: piw-targets add adds one\n")
    _write(lines, causes=bool(config.version))
    if answer.left_out:
        sys.stdout.write(f"{text}\n")
    return 0


def _write(lines: Sequence[Why], *, causes: bool) -> None:
    """Write a line for each answer, and below it, if wanted, the decisive line of its log."""
    versions = max((len(line.version) for line in lines), default=0)
    targets = max((len(line.target.words) for line in lines), default=0)
    for line in lines:
        where = f"{line.version:{versions}}  {line.target.words:{targets}}"
        sys.stdout.write(f"{where}  {line.text}\n")
        if causes and line.detail:
            sys.stdout.write(f"{'':{len(where)}}  {line.detail}\n")


def _is_for(python: str, abi: str) -> bool:
    """Return whether *abi* is of this version of Python; ``""`` and any version: yes."""
    digits, free = python.replace(".", "").removesuffix("t"), python.endswith("t")
    return not python or bool(re.match(rf"(cp|pypy){digits}{'t' if free else '(?![0-9t])'}", abi))


if __name__ == "__main__":
    sys.exit(main())
