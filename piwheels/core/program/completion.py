"""Shell completion scripts, which shtab generates from the option declarations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.program.extras import needs
from piwheels.core.program.manual import option_text
from piwheels.core.program.options import options

if TYPE_CHECKING:
    from piwheels.core.program.options import Option

#: The supported shells.
SHELLS: Final = ("bash", "zsh", "tcsh")


def completion(prog: str, cls: type[Any], shell: str) -> str:
    """Return the script with which *shell* completes the command line of *prog*.

    *cls* declares the options. Raises ``Fatal`` if shtab is missing.
    """
    with needs("completion"):
        import shtab  # noqa: PLC0415 (an extra)

    made = argparse.ArgumentParser(prog)
    made.add_argument("--version", action="version", help="show the version and exit")
    made.add_argument("--print-completion", choices=SHELLS, help="write a completion script")
    for opt in options(cls):
        completes = _add(made, opt)
        if opt.type_ is Path:
            folder = opt.metavar == "DIR"
            completes.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(made, shell)
    return f"{script.rstrip()}\n"


def _add(made: argparse.ArgumentParser, opt: Option) -> argparse.Action:
    extra: dict[str, Any] = {"help": option_text(opt, opt.default).replace("%", "%%")}
    if opt.type_ is bool:
        return made.add_argument(*opt.meta["flags"], opt.flag, action="store_true", **extra)
    extra |= {"metavar": opt.metavar, "choices": opt.choices or None}
    if not opt.meta["positional"]:
        return made.add_argument(*opt.meta["flags"], opt.flag, **extra)
    return made.add_argument(opt.name, nargs="*" if opt.many else "?", **extra)
