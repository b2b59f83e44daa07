"""Export: tables as files, slaves as JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import TYPE_CHECKING

from piwheels.console.data import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from piwheels.console.model.slave import Slave


def as_json(slave: Slave) -> str:
    """Return a slave as one line of JSON: times in ISO 8601, durations in seconds."""
    known = {each.name: getattr(slave, each.name) for each in dataclasses.fields(slave)}
    known["stats"] = slave.stats[-1] if slave.stats else None
    known["alerts"] = [str(alert) for alert in slave.alerts]
    for name in ("builds", "timeline", "is_behind", "version"):
        del known[name]
    return json.dumps(plain(known))


def save_table(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to *path*, which must not exist, as CSV or, by its suffix, as JSON lines.

    Raises ``OSError``.
    """
    text = io.StringIO(newline="")
    if path.suffix == ".jsonl":
        text.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    else:
        csv.writer(text, lineterminator="\n").writerows([names, *rows])
    with path.open("x", encoding="utf-8") as file:
        file.write(text.getvalue())
