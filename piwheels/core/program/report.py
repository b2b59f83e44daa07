"""The output of a program: sentences for people, or with ``--json`` objects for other programs.

With ``--json``, standard output has one JSON object per line and nothing else. Each has the key
``event``. A refusal or failure is an object, too: its event is ``error``, and it has the keys
``message`` and ``status`` (the exit status). The sentence on standard error stays.
"""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piwheels.core.program.options import option

if TYPE_CHECKING:
    from piwheels.core.program.options import Common


def json_option() -> Any:
    """Declare the option ``--json``."""
    return option(default=False, help="write JSON, an object for each line, errors included")


class Report:
    """Writes the results of a program to standard output, as *config* requests it.

    With ``--quiet`` there are no sentences; ``--json`` still writes its objects.
    """

    def __init__(self, config: Common) -> None:
        self._json = bool(getattr(config, "json", False))
        self._quiet = config.quiet

    def write(self, sentence: str, **values: Any) -> None:
        """Write the *sentence*, or the object of *values* with it as ``message``."""
        self.record(**values, message=sentence)
        if not self._json and not self._quiet:
            sys.stdout.write(f"{sentence}\n")

    def record(self, **values: Any) -> None:
        """Write the object of *values*; without ``--json`` nothing."""
        if self._json:
            write_object(values)


def write_object(values: Any) -> None:
    """Write a line with *values* as a JSON object to standard output."""
    sys.stdout.write(json.dumps(values, default=_plain, allow_nan=False) + "\n")
    sys.stdout.flush()


def write_error(message: str, status: int) -> None:
    """Write the object for an error that ends the program with *status*."""
    write_object({"event": "error", "message": message, "status": status})


def _plain(value: object) -> object:
    match value:
        case timedelta():
            return value.total_seconds()
        case date():
            return value.isoformat()
        case Path():
            return str(value)
        case set() | frozenset():
            return sorted(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
