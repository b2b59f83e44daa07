"""FsClient: sends requests about files to FileJuggler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from piwheels.master.messages import (
    DropFile,
    ExpectFile,
    FreeSpace,
    MissingBytes,
    VerifyFile,
    WithdrawFiles,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from piwheels.core.states import FileState
    from piwheels.master.ports import Ports
    from piwheels.master.result import Result

    #: The callback for an answer.
    Then = Callable[[Result[Any]], None]


class FsClient:
    """Sends requests to FileJuggler over *ports*, without blocking.

    *number* is the number of a slave or an import. *then* receives the answer, or the error, within
    *limit* seconds.
    """

    def __init__(self, ports: Ports, limit: float) -> None:
        self._ports, self._limit = ports, limit

    def expect(
        self, number: int, state: FileState, publish_as: str | None, then: Then, owner: str
    ) -> None:
        """Have a file of *owner* expected."""
        self._ports.ask("files", ExpectFile(number, state, publish_as, owner), then, self._limit)

    def verify(self, number: int, package: str, then: Then) -> None:
        """Have the file verified and published; the answer is a ``Verified``."""
        self._ports.ask("files", VerifyFile(number, package), then, self._limit)

    def missing(self, number: int, then: Then) -> None:
        """Ask how many bytes of the file are missing (``None``: no file is expected)."""
        self._ports.ask("files", MissingBytes(number), then, self._limit)

    def drop(self, number: int) -> None:
        """Have the file expected no longer."""
        self._ports.ask("files", DropFile(number), lambda _: None, self._limit)

    def free_space(self, then: Then) -> None:
        """Ask for the free space of the site's disk, and its reserve."""
        self._ports.ask("files", FreeSpace(), then, self._limit)

    def withdraw(self, number: int, package: str, filenames: Sequence[str], then: Then) -> None:
        """Have the expected file dropped, and the published files removed."""
        self._ports.ask("files", WithdrawFiles(number, package, filenames), then, self._limit)
