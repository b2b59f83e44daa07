"""Give a wheel other tags: in its name, in its WHEEL file, and in its RECORD (PEP 427)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import shutil
from itertools import product
from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.inspection import MAX_WHEEL, open_wheel, read_entry
from piwheels.core.wheels.integrity import MAX_RECORD, check_sizes

if TYPE_CHECKING:
    from pathlib import Path

    from piwheels.core.wheels.tags import WheelName


def retag(path: Path, name: WheelName) -> Path:
    """Write the wheel at *path* again as *name*, in its folder, and remove the old one.

    Return the path of the new one. Raises :exc:`~piwheels.core.errors.BadWheel`, and ``OSError`` if
    there is a file of that name.
    """
    target = path.with_name(str(name))
    with target.open("xb") as file, open_wheel(path) as archive:
        entries = archive.infolist()
        check_sizes(entries, path.stat().st_size)
        info = _info(entries)
        wheel = _with_tags(read_entry(archive, archive.getinfo(f"{info}/WHEEL"), MAX_WHEEL), name)
        record = read_entry(archive, archive.getinfo(f"{info}/RECORD"), MAX_RECORD)
        changed = {
            f"{info}/WHEEL": wheel,
            f"{info}/RECORD": _with_row(record, f"{info}/WHEEL", wheel),
        }
        with ZipFile(file, "w") as made:
            for entry in entries:
                _copy(archive, entry, made, changed.get(entry.filename))
    path.unlink()
    return target


def _info(entries: list[ZipInfo]) -> str:
    found = {entry.filename.partition("/")[0] for entry in entries}
    folders = [name for name in found if name.endswith(".dist-info")]
    if len(folders) != 1:
        raise BadWheel(f"the wheel has {len(folders)} dist-info folders instead of one")
    return folders[0]


def _copy(archive: ZipFile, entry: ZipInfo, made: ZipFile, content: bytes | None) -> None:
    """Write *entry* of *archive* to *made*, with other *content* if that is given."""
    new = ZipInfo(entry.filename, entry.date_time)
    new.compress_type, new.external_attr = entry.compress_type, entry.external_attr
    new.create_system = entry.create_system
    if content is not None:
        made.writestr(new, content)
        return
    new.file_size = entry.file_size  # it decides about the format of large files
    with archive.open(entry) as source, made.open(new, "w") as target:
        shutil.copyfileobj(source, target, 2**18)


def _with_tags(wheel: bytes, name: WheelName) -> bytes:
    """Return the content of a WHEEL file with the tags of *name* in place of its own."""
    lines = wheel.decode(errors="replace").strip().splitlines()
    kept = [line for line in lines if not line.lower().startswith("tag:")]
    tags = ["-".join(tag) for tag in product(*(part.split(".") for part in name[3:]))]
    return "".join(f"{line}\n" for line in (*kept, *(f"Tag: {tag}" for tag in tags))).encode()


def _with_row(record: bytes, path: str, content: bytes) -> bytes:
    """Return the content of a RECORD file that lists *path* with *content*."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    try:
        for row in csv.reader(io.StringIO(record.decode(), newline="")):
            is_it = row[:1] == [path]
            writer.writerow([path, f"sha256={digest}", len(content)] if is_it else row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadWheel(f"RECORD cannot be read: {error}") from error
    return made.getvalue().encode()
