"""What the operator has chosen, kept in a file from one time to the next."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

#: How often a second the screen may be brought up to date.
RATES: Final = (0.5, 1.0, 2.0, 4.0, 10.0)


def prefs_path() -> Path:
    """Return the file of this user's choices (not made here)."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return Path(base or Path.home() / ".config", "piwheels", "console.json")


@dataclass(slots=True)
class Prefs:
    """The choices; those without a *path* are not kept."""

    theme: str = ""
    #: Changes a second that are shown.
    rate: float = 4.0
    #: Commands of a lower level of danger than this are given without a question: 1 or 2.
    confirm_from: int = 1
    #: Filters of the fleet, by name.
    filters: dict[str, str] = field(default_factory=dict)
    #: Keys by the bindings' ids: ``{"verb.skip": "f6"}``.
    keymap: dict[str, str] = field(default_factory=dict)
    path: Path | None = None
    #: What was wrong with the file: then nothing is kept, so that it can be mended.
    problem: str = ""

    @classmethod
    def load(cls, path: Path) -> Prefs:
        """Return what is kept in *path*: of a file that is no such file nothing, and why."""
        try:
            kept = json.loads(path.read_bytes())
            return cls(**_checked(kept), path=path)
        except FileNotFoundError:
            return cls(path=path)
        except (OSError, ValueError, RecursionError) as exc:
            return cls(problem=f"{path} is not read, nor written: {exc}")

    def save(self) -> str:
        """Keep the choices; return what went wrong, or ``""``."""
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
            return f"nothing is kept: {exc}"
        return ""


_NOT_KEPT: Final = ("path", "problem")


def _write(path: Path, text: str) -> None:
    """Write *path* as a whole, or not at all."""
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
    """Return those of *kept* that are ours. Raises ``ValueError`` for what cannot be meant."""
    if not isinstance(kept, dict):
        raise ValueError("it holds no object")  # noqa: TRY004 (the file is wrong, no caller)
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
