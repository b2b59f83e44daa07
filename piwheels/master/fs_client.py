"""FsClient, by which other tasks ask FileJuggler for files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from piwheels.core.transport import Context
from piwheels.master.rpc import Client

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from piwheels.core.states import FileState
    from piwheels.master.incoming import Verified
    from piwheels.master.wiring import MasterConfig


class FsClient(Client):
    """Asks FileJuggler to await and to verify files; for use in one thread.

    :meth:`expect` and :meth:`verify` wait; who may not wait uses :meth:`request_expect`,
    :meth:`request_verify` and ``answers()``.
    """

    def __init__(self, config: MasterConfig, logger: logging.Logger) -> None:
        super().__init__(Context(), config.fs_queue, "FileJuggler", logger)

    def request_expect(
        self, slave_id: int, file_state: FileState, publish_as: str | None = None
    ) -> int:
        """Ask as :meth:`expect` does, without waiting; return the ticket of the answer."""
        return self.request("EXPECT", [slave_id, file_state, publish_as])

    def request_verify(self, slave_id: int, package: str) -> int:
        """Ask as :meth:`verify` does, without waiting; return the ticket of the answer."""
        return self.request("VERIFY", [slave_id, package])

    def request_missing(self, slave_id: int) -> int:
        """Ask how many bytes have not come yet (``None``: no file is expected)."""
        return self.request("MISSING", slave_id)

    def request_withdraw(self, slave_id: int, package: str, filenames: Sequence[str]) -> int:
        """Ask for what ``FileJuggler.do_withdraw`` does; return the ticket of the answer."""
        return self.request("WITHDRAW", [slave_id, package, list(filenames)])

    def expect(self, slave_id: int, file_state: FileState, publish_as: str | None = None) -> None:
        """Have FileJuggler await a file; see ``FileJuggler.do_expect``.

        Raises ``Refused``, or ``Unavailable`` if there was no answer within 30 s.
        """
        self.call("EXPECT", [slave_id, file_state, publish_as], timeout=30)

    def verify(self, slave_id: int, package: str) -> Verified:
        """Have the file verified and published; see ``FileJuggler.do_verify``.

        Raises ``Refused``, or ``Unavailable`` if there was no answer within 5 minutes.
        """
        answer: Any = self.call("VERIFY", [slave_id, package], timeout=300)
        return cast("Verified", answer)
