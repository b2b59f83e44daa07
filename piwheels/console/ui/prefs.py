"""The operator's settings, in a file."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

#: Refresh rates, per second.
RATES: Final = (0.5, 1.0, 2.0, 4.0, 10.0)


def prefs_path() -> Path:
    """Return the path of this user's settings; the file may not exist."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return Path(base or Path.home() / ".config", "piwheels", "console.json")


@dataclass(slots=True)
class Prefs:
    """The settings; without a *path* they are not saved."""

    theme: str = ""
    #: Refreshes per second.
    rate: float = 4.0
    #: The level from which commands are confirmed: 1 or 2.
    confirm_from: int = 1
    #: Filters of the fleet, by name.
    filters: dict[str, str] = field(default_factory=dict)
    #: Keys by the bindings' ids: ``{"verb.skip": "f6"}``.
    keymap: dict[str, str] = field(default_factory=dict)
    path: Path | None = None
    #: What is wrong with the file: then nothing is saved, so that it can be repaired.
    problem: str = ""

    @classmethod
    def load(cls, path: Path) -> Prefs:
        """Read the settings in *path*; for an invalid file return defaults and the problem."""
        try:
            kept = json.loads(path.read_bytes())
            return cls(**_checked(kept), path=path)
        except FileNotFoundError:
            return cls(path=path)
        except (OSError, ValueError, RecursionError) as exc:
            return cls(problem=f"{path} is neither read nor written: {exc}")

    def save(self) -> str:
        """Save the settings; return an error, or ``""``."""
        if self.path is None:
            return ""
        kept = asdict(self)
        for name in _NOT_KEPT:
            del kept[name]
        text = json.dumps(kept, indent=2) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _write(self.path, text)
        except OSError as exc:
            return f"settings are not saved: {exc}"
        return ""


_NOT_KEPT: Final = ("path", "problem")


def _write(path: Path, text: str) -> None:
    """Replace *path* atomically."""
    handle, name = tempfile.mkstemp(prefix=".console-", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 (a handle)
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _checked(kept: Any) -> dict[str, Any]:
    """Return the known settings of *kept*. Raises ``ValueError`` for an invalid value."""
    if not isinstance(kept, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 (an invalid file)
    names = {each.name for each in fields(Prefs)}.difference(_NOT_KEPT)
    ours = {name: value for name, value in kept.items() if name in names}
    for name, value in ours.items():
        if not _fits(name, value):
            raise ValueError(f"{name} cannot be {value!r}")
    return ours


def _fits(name: str, value: Any) -> bool:
    match name:
        case "theme":
            return isinstance(value, str)
        case "rate":
            return isinstance(value, float | int) and RATES[0] <= value <= RATES[-1]
        case "confirm_from":
            return value in (1, 2)
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
