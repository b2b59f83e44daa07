"""Copy rows from one database into another (COPY), and clean their text on the way."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.text import MARK

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import RawIOBase

#: The size of the parts that are read at a time, in bytes.
_CHUNK: Final = 2**18
#: Control characters and line ends within a field, in the text format of COPY. Each field is one
#: line of text here, as that of :func:`piwheels.core.text.clean`.
_CONTROL: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\[bfnrtv]|[\x01-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]"
)
_CLEAN: Final = rb"\1" + MARK.encode()
#: What most rows do not have; these searches are much faster.
_ESCAPES: Final = (rb"\b", rb"\f", rb"\n", rb"\r", rb"\t", rb"\v")
_RAW: Final = bytes(each for each in (*range(1, 32), 127) if each not in b"\t\n")


def pour(
    source: Any,
    target: Any,
    select: str,
    into: str,
    change: Callable[[bytes], bytes] | None = None,
) -> int:
    """Copy the rows of the query *select* into the table *into*; return how many there are.

    *source* and *target* are connections of psycopg2. *change* gets each row in the text format of
    COPY, without its line end. Raises what the driver raises.
    """
    reading, writing = os.pipe()
    failures: list[Exception] = []

    def send() -> None:
        try:
            with os.fdopen(writing, "wb", _CHUNK) as file, source.cursor() as cursor:
                cursor.copy_expert(f"COPY ({select}) TO STDOUT", file, _CHUNK)
        except Exception as exc:  # noqa: BLE001 (raised below)
            failures.append(exc)

    sender = threading.Thread(target=send, name="copy")

    def check() -> None:
        sender.join()
        if failures:  # the rows are incomplete
            raise failures[0]

    sender.start()
    try:
        with os.fdopen(reading, "rb", 0) as file, target.cursor() as cursor:
            rows = _Rows(file, change, check)
            cursor.copy_expert(f"COPY {into} FROM STDIN", rows, _CHUNK)
            return int(cursor.rowcount)
    except Exception as exc:
        # The driver only quotes an error of the source. A closed pipe is what ends the sender.
        if failures and not isinstance(failures[0], BrokenPipeError):
            raise failures[0] from exc
        raise
    finally:
        sender.join()


class _Rows:
    """The rows of *file*, clean and changed, as a file for COPY; *check* is called at its end."""

    def __init__(
        self,
        file: RawIOBase,
        change: Callable[[bytes], bytes] | None,
        check: Callable[[], None],
    ) -> None:
        self._file, self._change, self._check = file, change, check
        self._rest = b""

    def read(self, _size: int = -1) -> bytes:
        """Return the next whole rows; ``b""`` at the end."""
        while part := self._file.read(_CHUNK):
            rows, end, self._rest = (self._rest + part).rpartition(b"\n")
            if end:
                return self._changed(rows) + b"\n"
        self._check()
        return b""

    def _changed(self, rows: bytes) -> bytes:
        rows = cleaned(rows)
        return rows if self._change is None else b"\n".join(map(self._change, rows.split(b"\n")))


def cleaned(rows: bytes) -> bytes:
    """Return *rows* in the text format of COPY with U+FFFD for each invalid character."""
    if (
        rows.isascii()
        and len(rows.translate(None, _RAW)) == len(rows)
        and not any(escape in rows for escape in _ESCAPES)
    ):
        return rows
    # A database without an encoding may contain any bytes
    return _CONTROL.sub(_CLEAN, rows.decode("utf-8", "replace").encode())
