"""Asking MrChase, as the administrators' programs and piw-up do (the import queue).

What those programs have in common is here as well: the options by which they find the master, and
the sentences for the code words with which it refuses (protocols.md).
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import voluptuous as vol
import zmq

from piwheels.core.checks import check_of
from piwheels.core.clock import SYSTEM
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, Fatal, Refused, Unavailable
from piwheels.core.program.command_line import option
from piwheels.core.program.paths import address, master_socket
from piwheels.core.protocols import mr_chase
from piwheels.core.states import Package, Tag
from piwheels.core.states import Version as VersionText
from piwheels.core.transport import Context
from piwheels.core.wheels.tags import is_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that the master may take for one answer, and for one to a request that is long work.
ANSWER: Final = 60.0
LONG_ANSWER: Final = 900.0
#: Seconds within which a master that runs is reached.
REACHED: Final = 5.0
#: Where the master takes files unless there is a socket ``file`` beside that for requests.
FILE_QUEUE: Final = "tcp://127.0.0.1:5556"
#: What the code words of a refusal mean for a package, or a version.
REFUSALS: Final = {
    "NOPKG": "the package {package} is not known here: piw-add {package} adds it",
    "NOVER": "{package} has no version {version} here: piw-add {package} {version} adds it",
    "SKIPPKG": "{package} is marked as deleted, or is just being removed: piw-add {package}"
    " --unskip brings it back",
    "SKIPVER": "{package} {version} is marked as deleted, or is just being removed: piw-add"
    " {package} {version} --unskip brings it back",
    "YANKVER": "{package} {version} is yanked: piw-add {package} {version} --unyank changes that",
}


def _fit(kind: Any, what: str) -> Callable[[str], str]:
    """Return a parser that takes the text which the wires take, too, as a *kind*."""

    def parse(text: str) -> str:
        try:
            return str(check_of(kind)(text))
        except vol.Invalid:
            raise ValueError(f"{text!r} is not {what}") from None

    return parse


#: Parsers of options: they return the text, or raise ``ValueError``.
package_name: Final = _fit(Package, "the name of a package")
abi_tag: Final = _fit(Tag, "the tag of an ABI, as cp311 is")
_version_fit: Final = _fit(VersionText, "a version (PEP 440)")


def version_text(text: str) -> str:
    """Return *text* if it is a version. Raises ``ValueError``."""
    if not is_version(text):
        raise ValueError(f"{text!r} is not a version (PEP 440)")
    return _version_fit(text)


def package_option(**more: Any) -> Any:
    """Declare the argument that names a package (*more*: as ``option`` has it)."""
    more.setdefault("help", "the name of the package")
    return option(metavar="PACKAGE", positional=True, parse=package_name, **more)


def version_option(help: str) -> Any:  # noqa: A002 (as option has it)
    """Declare the argument that is a version, and may be left out."""
    return option(default="", metavar="VERSION", positional=True, parse=version_text, help=help)


def _reason(text: str) -> str:
    # Without one the other options decide what is done, up to removing everything.
    if not text.strip():
        raise ValueError("a reason cannot be empty")
    return text


def reason_option(help: str) -> Any:  # noqa: A002 (as option has it)
    """Declare the option that says why something is not to be built (``""``: not given)."""
    return option(default="", metavar="REASON", parse=_reason, help=help)


def queue_option() -> Any:
    """Declare the option that says where the master is to be asked (``""``: see ``Admin``)."""
    return option(
        default="",
        metavar="ADDR",
        parse=lambda text: address(text) if text else "",
        help="ask the master here (default: this user's, or else the service)",
    )


def file_address(import_queue: str) -> str:
    """Return where the master takes files that is asked at *import_queue* (``""``: this user's)."""
    socket = Path((import_queue or master_socket("import")).removeprefix("ipc://"))
    beside = socket.with_name("file")
    return f"ipc://{beside}" if beside.is_socket() else FILE_QUEUE


def yes_option() -> Any:
    """Declare the option by which nothing is asked."""
    return option("-y", default=False, help="do not ask before changing anything")


@contextmanager
def explaining(package: str, version: str = "") -> Iterator[None]:
    """Raise what the master refuses by a code word as ``Fatal``, with what it means and advice."""
    try:
        yield
    except Refused as exc:
        if exc.code not in REFUSALS:
            raise
        raise Fatal(REFUSALS[exc.code].format(package=package, version=version)) from exc


class Admin:
    """Asks the master at *address* (``""``: this user's), one question at a time.

    *meanwhile* is called several times a second while an answer is waited for, and may raise to
    end the wait. *patience* is for how many seconds a master may be absent (:data:`REACHED`). Use
    it as a context manager, or close it.
    """

    def __init__(
        self,
        address: str = "",
        meanwhile: Callable[[], None] = lambda: None,
        patience: float | None = None,
    ) -> None:
        self._address = address or master_socket("import")
        self._meanwhile = meanwhile
        self._patience = REACHED if patience is None else patience
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(Context().socket(zmq.REQ, reversed(mr_chase)))
        # Then it takes a message only when somebody is there to hear it.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._lost = self._stack.enter_context(self._socket.monitor(zmq.EVENT_DISCONNECTED))
        self._socket.connect(self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the conversation."""
        self._stack.close()

    def ask(self, msg: str, data: Any = NoData, limit: float = ANSWER) -> tuple[str, str]:
        """Ask, and return the answer: ``DONE`` with a code word, or ``SEND`` with a file's name.

        Raises :exc:`~piwheels.core.errors.Refused` with what the master says against it (its code
        is the code word, if it is one), and :exc:`~piwheels.core.errors.Unavailable` if there is
        no master, or it says nothing for *limit* seconds.
        """
        if not self._wait(self._patience, zmq.POLLOUT):
            raise Unavailable(
                f"no master listens at {self._address}: start piw-master (or piw-up), or say where"
                " it listens with --import-queue"
            )
        self._lost.drain()
        self._socket.send_msg(msg, data)
        if not self._wait(limit, zmq.POLLIN):
            raise Unavailable(
                f"the master at {self._address} did not answer {msg} within {limit:g} s: whether it"
                " was done is not known; see its log"
            )
        try:
            reply, text = self._socket.recv_msg()
        except BadMessage as exc:
            raise Unavailable(f"what listens at {self._address} is no master: {exc}") from exc
        if reply == "ERROR":
            raise Refused(text if text in REFUSALS else msg, str(text))
        return reply, str(text)

    def _wait(self, limit: float, event: int) -> bool:
        """Tell whether *event* happens within *limit* seconds. Raises if the master goes away."""
        deadline = SYSTEM.monotonic() + limit
        while not self._socket.poll(min(0.2, max(0.0, deadline - SYSTEM.monotonic())), event):
            if SYSTEM.monotonic() > deadline:
                return False
            if event == zmq.POLLIN:
                self.check()
            else:
                self._meanwhile()
        return True

    def check(self) -> None:
        """Raise :exc:`~piwheels.core.errors.Unavailable` if the master has gone since it was asked.

        For other waits while it is asked; does what is to be done in each wait as well.
        """
        self._meanwhile()
        if self._lost.poll(0):
            raise Unavailable(
                f"lost the master at {self._address}: whether the last request was done is not"
                " known; ask again when it is back"
            )
