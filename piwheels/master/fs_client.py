"""FsClient, by which other tasks ask FileJuggler for files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from piwheels.master.messages import ExpectFile, MissingBytes, VerifyFile, WithdrawFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from piwheels.core.states import FileState
    from piwheels.master.ports import Ports
    from piwheels.master.result import Result

    #: What the answer is for.
    Then = Callable[[Result[Any]], None]


class FsClient:
    """Asks FileJuggler for what its ``do_*`` methods do, over *ports*, without blocking.

    *number* is a slave's or an import's. The answer, or the error, goes to *then* within *limit*
    seconds.
    """

    def __init__(self, ports: Ports, limit: float) -> None:
        self._ports, self._limit = ports, limit

    def expect(self, number: int, state: FileState, publish_as: str | None, then: Then) -> None:
        """Have a file expected."""
        self._ports.ask("files", ExpectFile(number, state, publish_as), then, self._limit)

    def verify(self, number: int, package: str, then: Then) -> None:
        """Have the file verified and published; the answer is a ``Verified``."""
        self._ports.ask("files", VerifyFile(number, package), then, self._limit)

    def missing(self, number: int, then: Then) -> None:
        """Ask how many bytes have not come yet (``None``: no file is expected)."""
        self._ports.ask("files", MissingBytes(number), then, self._limit)

    def withdraw(self, number: int, package: str, filenames: Sequence[str], then: Then) -> None:
        """Have the file that comes dropped, and those that were published removed."""
        self._ports.ask("files", WithdrawFiles(number, package, filenames), then, self._limit)
