"""A client of a master, for scripts and the admin tools.

:class:`Farm` has a method for each request of an admin tool, and :meth:`Farm.listen` yields the
events that a master publishes.
"""

from __future__ import annotations

import math
import threading
import tomllib
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, Fatal, Refused, Unavailable
from piwheels.core.paths import FARM_FILE, master_socket
from piwheels.core.paths import address as checked_address
from piwheels.core.protocols import (
    AddPackage,
    AddVersion,
    AskWhy,
    Job,
    RemovePackage,
    RemoveVersion,
    RetryFailed,
    RetryReason,
    SetRecipe,
    mr_chase,
)
from piwheels.core.subscription import Event, Subscription
from piwheels.core.transport import REFUSALS, Context, Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from piwheels.core.protocols import StoredRecipe, WhyAnswer
    from piwheels.core.recipes import Recipe
    from piwheels.core.states import BuildState
    from piwheels.core.transport import Socket
    from piwheels.core.wheels.built import Wheel

__all__ = ["Done", "Event", "Farm", "Pages"]

#: Seconds within which the master must answer: an ordinary request, and one with long work.
ANSWER_LIMIT: Final = 60.0
LONG_ANSWER_LIMIT: Final = 900.0
#: Seconds within which a connection to a running master must succeed.
CONNECT_LIMIT: Final = 5.0
#: Seconds without an event after which a master counts as lost; it publishes every 10 s.
SILENCE: Final = 60.0
#: The master's address for files, unless it wrote another one next to its socket for requests.
FILE_QUEUE: Final = "tcp://127.0.0.1:5556"

#: Seconds between two checks during a wait.
_SLICE: Final = 0.2


class Done(StrEnum):
    """The master's answers to requests. The values are the code words of the wire."""

    PACKAGE_ADDED = "NEWPKG"
    PACKAGE_UPDATED = "UPDPKG"
    PACKAGE_SKIPPED = "SKIPPKG"
    PACKAGE_REMOVED = "DELPKG"
    PACKAGE_BUILDS_REMOVED = "DELPKGBLD"
    VERSION_ADDED = "NEWVER"
    VERSION_UPDATED = "UPDVER"
    VERSION_SKIPPED = "SKIPVER"
    VERSION_YANKED = "YANKVER"
    VERSION_REMOVED = "DELVER"
    VERSION_BUILDS_REMOVED = "DELVERBLD"
    REBUILD_NOTED = "REBUILD"
    BUILD_IMPORTED = "IMPORT"
    WATCHED = "WATCH"
    UNWATCHED = "UNWATCH"


#: The parts of the site that :meth:`Farm.rebuild` rebuilds, and those that belong to packages.
#: How urgent the builds of a version are (``""``: unchanged).
Priority = Literal["", "first", "security", "normal"]
Pages = Literal["home", "search", "project", "index"]
PACKAGE_PAGES: Final[frozenset[Pages]] = frozenset({"project", "index"})
_PAGES: Final[dict[Pages, str]] = {
    "home": "HOME", "search": "SEARCH", "project": "PROJECT", "index": "BOTH",
}  # fmt: skip


class Farm:
    """A client of the master whose socket for requests is *address*.

    The default address is that of this user's master, or else of the machine's service. Its other
    sockets are in the same folder; over TCP, *status*, *control* and *files* are their addresses,
    and *key* is the key pair of this program (:func:`piwheels.core.keys.files.read_pair`).

    *patience* is the number of seconds to wait for a connection before a request fails (default:
    5). During each wait, *meanwhile* is called several times a second; it may raise an exception
    to end the wait.

    Requests raise :exc:`~piwheels.core.errors.Refused` with the master's reason (its ``code`` is
    the code word of the wire, if there is one), :exc:`~piwheels.core.errors.Unavailable` if no
    master runs or it does not answer in time, and :exc:`~piwheels.core.errors.BadMessage` for an
    invalid argument. After an error, the next request connects again.

    Use a ``Farm`` in one thread; only :meth:`close` may be called from others. It is a context
    manager.
    """

    def __init__(
        self,
        address: str = "",
        *,
        status: str = "",
        control: str = "",
        files: str = "",
        key: Pair | None = None,
        patience: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self.address = address or master_socket("import")
        self.invalid = 0  #: The number of invalid messages that :meth:`listen` has skipped.
        self._status, self._control = status, control
        self._files, self._key = files, key
        self._patience = CONNECT_LIMIT if patience is None else patience
        self._meanwhile = meanwhile
        self._stack = ExitStack()
        self._link: tuple[Socket, Socket] | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; :meth:`listen` ends within a second. May be called again."""
        self._closed.set()
        self._disconnect()

    def is_running(self, limit: float = CONNECT_LIMIT) -> bool:
        """Return whether the master accepts connections, waiting up to *limit* seconds."""
        return self._wait(self._connect()[0], limit, zmq.POLLOUT)

    # Packages and versions ------------------------------------------------------------------

    def add_package(
        self,
        package: str,
        *,
        description: str = "",
        skip: str = "",
        unskip: bool = False,
        aliases: Iterable[str] = (),
    ) -> Done:
        """Add *package*, or change the given properties of it.

        *description* is one line of text. *skip* is a reason not to build it; *unskip* undoes that.
        *aliases* are other spellings of its name. Returns ``PACKAGE_ADDED``, or
        ``PACKAGE_SKIPPED`` or ``PACKAGE_UPDATED`` if it existed.
        """
        return self._do("ADDPKG", AddPackage(package, description, skip, unskip, list(aliases)))

    def add_version(
        self,
        package: str,
        version: str,
        *,
        released: datetime | None = None,
        skip: str = "",
        unskip: bool = False,
        yank: bool = False,
        yank_reason: str = "",
        unyank: bool = False,
        aliases: Iterable[str] = (),
        priority: Priority = "",
    ) -> Done:
        """Add a *version* of an existing package, or change the given properties of it.

        *released* is an aware time (default: now). *skip* is
        a reason not to build the version, *yank* marks it as yanked (a *yank_reason*, too);
        *unskip* and *unyank* undo that. *priority*: build it first, or as a security release, or
        again like others.
        Returns ``VERSION_ADDED``, or ``VERSION_SKIPPED``, ``VERSION_YANKED`` or
        ``VERSION_UPDATED`` if it existed.
        """
        released = released or SYSTEM.now()
        yank = yank or bool(yank_reason)
        data = AddVersion(package, version, skip, unskip, released, yank, unyank, list(aliases))
        about = (yank_reason, priority) if priority else _reason(yank_reason)
        return self._do("ADDVER", (*data[:-2], *about))

    def remove_package(self, package: str, *, builds: bool = False, skip: str = "") -> Done:
        """Remove *package* with all its versions, builds and files.

        *builds*: remove only builds and files, and build the versions again. *skip*, a reason:
        remove nothing (or only builds and files, with *builds*), and build it no more. Returns
        ``PACKAGE_REMOVED``, ``PACKAGE_BUILDS_REMOVED`` or ``PACKAGE_SKIPPED``.
        """
        return self._do("REMPKG", RemovePackage(package, builds, skip), LONG_ANSWER_LIMIT)

    def remove_version(
        self,
        package: str,
        version: str,
        *,
        builds: bool = False,
        skip: str = "",
        yank: bool = False,
        yank_reason: str = "",
    ) -> Done:
        """Remove a *version* with its builds and files.

        *builds* and *skip* are as for :meth:`remove_package`; *yank* (or a *yank_reason*): only
        mark the version as yanked. Returns ``VERSION_REMOVED``, ``VERSION_BUILDS_REMOVED``,
        ``VERSION_YANKED`` or ``VERSION_SKIPPED``.
        """
        data = RemoveVersion(package, version, builds, skip, yank or bool(yank_reason))
        return self._do("REMVER", (*data[:-1], *_reason(yank_reason)), LONG_ANSWER_LIMIT)

    def watch(self, package: str) -> Done:
        """Follow *package* upstream, and build its newest and all later releases."""
        return self._do("WATCH", package)

    def unwatch(self, package: str) -> Done:
        """Undo :meth:`watch`. Refused (``NOPKG``) if *package* is not followed by request."""
        return self._do("UNWATCH", package)

    # Pages and builds -----------------------------------------------------------------------

    def rebuild(self, pages: Pages, package: str | None = None) -> Done:
        """Rebuild pages of the site.

        ``project`` is the project page of *package*, ``index`` also its page in the simple index;
        without a package, those of all packages. ``home`` is the home page, ``search`` the search
        index. Returns as soon as the master has accepted the request.
        """
        data = [_PAGES[pages], package] if pages in PACKAGE_PAGES else [_PAGES[pages]]
        return self._do("REBUILD", data, LONG_ANSWER_LIMIT)

    def retry_failed(self, since: datetime, label: str = "", *, preview: bool = False) -> int:
        """Have the builds repeated that failed since *since* (an aware time).

        *label*: only those of the slave with this label. Returns their number; *preview*: changes
        nothing.
        """
        return self._count("RETRY", RetryFailed(since, label, preview))

    def retry_reason(
        self, reason: str, subject: str | None, since: datetime, *, preview: bool = False
    ) -> int:
        """Have what failed since *since* for *reason* built again, with all attempts before it.

        *reason* is a code of :data:`piwheels.core.diagnosis.CLASSES`, *subject* what it is about
        (``None``: anything). Returns the number of failures, one for each version and target;
        *preview*: changes nothing.
        """
        return self._count("RETRYREASON", RetryReason(since, reason, subject, preview))

    def retry_version(self, package: str, version: str) -> int:
        """Have *version* built again for all targets for which it has failed.

        Returns the number of its failed builds, which are forgotten.
        """
        return self._count("RETRYVERSION", Job(package, version))

    def retry_curable(self, *, preview: bool = False) -> int:
        """Have all failures tried again that a slave of now could cure, or that wait for operators.

        Returns their number, one for each version and target; *preview*: changes nothing.
        """
        return self._count("CURE", preview)

    # Recipes and questions ------------------------------------------------------------------

    def recipes(self) -> Iterator[StoredRecipe]:
        """Yield the recipes of all projects that have one, by name."""
        after = ""
        while found := self._ask("RECIPES", after):
            yield from found
            after = found[-1].package

    def set_recipe(
        self, package: str, recipe: Recipe, *, retry: bool = True, preview: bool = False
    ) -> int:
        """Have the builds of *package* begin with *recipe*; a plain one: with none.

        *retry*: its failures that the recipe could cure are built again. Returns their number;
        *preview*: changes nothing.
        """
        return self._count("SETRECIPE", SetRecipe(package, recipe, retry, preview))

    def why(self, package: str, version: str = "") -> WhyAnswer:
        """Return why there is no wheel of *version* (``""``: of any) for each target.

        Of a package, it is about the newest 100 versions.
        """
        answer: WhyAnswer = self._ask("WHY", AskWhy(package, version))
        return answer

    def import_build(
        self,
        build: BuildState,
        wheels: Sequence[Wheel],
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> Done:
        """Import *build*, which another system made, with its files *wheels*.

        *sent* is called with the number of bytes of each chunk that was sent. The ``slave_id`` of
        *build* identifies the import: choose a random number, at least
        :data:`~piwheels.core.protocols.FIRST_IMPORT`, so that several programs can import at once.
        """
        reply, text = self._request("IMPORT", build, LONG_ANSWER_LIMIT)
        while reply == "SEND":
            send_file(
                wheels, text, file_queue=self._files or file_address(self.address),
                slave_id=build.slave_id, key=self._key, check=self._check, sent=sent,
            )  # fmt: skip
            reply, text = self._request("SENT", limit=LONG_ANSWER_LIMIT)
        return self._done(text)

    # Events ---------------------------------------------------------------------------------

    def listen(self, timeout: float = math.inf, silence: float = SILENCE) -> Iterator[Event]:
        """Request the farm's current state, and yield the events that the master publishes.

        Ends after *timeout* seconds, or when :meth:`close` is called. After the loss of the
        master, it connects and requests the state again; it raises ``Unavailable`` if no valid
        message arrives for *silence* seconds. It skips invalid messages, and counts them in
        :attr:`invalid`.

        The master drops events for a script that reads too slowly.
        """
        # Time that the script spends on an event does not count as silence.
        end, heard = SYSTEM.monotonic() + timeout, SYSTEM.monotonic()
        status = self._status or self._sibling("status")
        control = self._control or self._sibling("control")
        with Subscription(status, control, key=self._key) as subscription:
            while not self._closed.is_set() and (now := SYSTEM.monotonic()) < end:
                self._meanwhile()
                if now - heard > silence:
                    raise Unavailable(
                        f"the master at {status} published nothing for {silence:g} s: it"
                        " has stopped, or publishes at another address"
                    )
                invalid = subscription.invalid
                event = subscription.receive(min(_SLICE, end - now))
                self.invalid += subscription.invalid - invalid
                if event is not None:
                    yield event
                    heard = SYSTEM.monotonic()

    def _sibling(self, name: str) -> str:
        """Return the address of the master's socket *name*, next to that for requests."""
        if not self.address.startswith("ipc://"):
            raise Fatal(
                f"the address of the {name} socket of the master at {self.address} is unknown: give"
                " it"
            )
        return f"ipc://{Path(self.address.removeprefix('ipc://')).with_name(name)}"

    # Requests -------------------------------------------------------------------------------

    def _do(self, msg: str, data: Any, limit: float = ANSWER_LIMIT) -> Done:
        return self._done(self._request(msg, data, limit)[1])

    def _count(self, msg: str, data: Any) -> int:
        """Return the number with which the master answers."""
        _, text = self._request(msg, data, LONG_ANSWER_LIMIT)
        if not (text.isascii() and text.isdigit()):
            self._done(text)
        return int(text)

    def _ask(self, msg: str, data: Any) -> Any:
        """Return the data of the answer with the same name as the request."""
        reply, answer = self._request(msg, data)
        return answer if reply == msg else self._done(str(answer))

    def _done(self, word: str) -> Done:
        try:
            return Done(word)
        except ValueError:
            raise Unavailable(
                f"the program at {self.address} is not a master: it answered {word[:40]!r}"
            ) from None

    def _request(
        self, msg: str, data: Any = NoData, limit: float = ANSWER_LIMIT
    ) -> tuple[str, Any]:
        """Return the answer: ``DONE`` with a code word, ``SEND`` with a file's name, or others."""
        socket, lost = self._connect()
        if not self._wait(socket, self._patience, zmq.POLLOUT):
            while lost.poll(0):
                if why := socket.why_refused(lost.recv_event()[0]):
                    raise Unavailable(f"the master at {self.address} refuses this program: {why}")
            raise Unavailable(
                f"no master listens at {self.address}: start piw-master (or piw-up), or give its"
                " address with --import-queue"
            )
        lost.drain()
        socket.send_msg(msg, data, zmq.DONTWAIT)
        try:
            reply, text = self._answer(socket, msg, limit)
        except BaseException:
            self._disconnect()  # a REQ socket must receive the answer before it can send again
            raise
        if reply == "ERROR":
            raise Refused(text if _is_code(text) else msg, text)
        return reply, text

    def _answer(self, socket: Socket, msg: str, limit: float) -> tuple[str, Any]:
        if not self._wait(socket, limit, zmq.POLLIN):
            raise Unavailable(
                f"the master at {self.address} did not answer {msg} within {limit:g} s: it may"
                " have been carried out; see its log"
            )
        try:
            reply, answer = socket.recv_msg()
        except BadMessage as exc:
            raise Unavailable(f"the program at {self.address} is not a master: {exc}") from exc
        return reply, answer

    def _connect(self) -> tuple[Socket, Socket]:
        """Return the socket for requests, and the monitor that reports when it is lost."""
        if self._closed.is_set():
            raise ValueError("this Farm is closed")
        if self._link is None:
            socket = self._stack.enter_context(Context().socket(zmq.REQ, reversed(mr_chase)))
            socket.setsockopt(zmq.IMMEDIATE, 1)  # queue no message while there is no connection
            lost = self._stack.enter_context(socket.monitor(zmq.EVENT_DISCONNECTED | REFUSALS))
            socket.identify(self._key)
            socket.connect(self.address)
            self._link = socket, lost
        return self._link

    def _disconnect(self) -> None:
        self._link = None
        self._stack.close()

    def _wait(self, socket: Socket, limit: float, event: int) -> bool:
        """Return whether *event* happens within *limit* seconds."""
        deadline = SYSTEM.monotonic() + limit
        while not socket.poll(min(_SLICE, max(0.0, deadline - SYSTEM.monotonic())), event):
            if SYSTEM.monotonic() >= deadline:
                return False
            if event == zmq.POLLIN:
                self._check()
            else:
                self._meanwhile()
        return True

    def _check(self) -> None:
        """Raise ``Unavailable`` if the master was lost since the last request."""
        self._meanwhile()
        if self._link is not None and self._link[1].poll(0):
            raise Unavailable(
                f"lost the master at {self.address}: the last request may have been carried"
                " out; repeat it when the master is back"
            )


def _is_code(text: str) -> bool:
    return text.isascii() and text.isalpha() and text.isupper()


def file_address(address: str) -> str:
    """Return the address for files of the master at *address* (``""``: this user's)."""
    socket = Path((address or master_socket("import")).removeprefix("ipc://"))
    file_socket = socket.with_name("file")
    if file_socket.is_socket():
        return f"ipc://{file_socket}"
    with suppress(OSError, ValueError, KeyError, TypeError):
        options = tomllib.loads(socket.with_name(FARM_FILE).read_text("utf-8"))
        return checked_address(options["import"]["file-queue"])
    return FILE_QUEUE


def send_file(
    packages: Iterable[Wheel],
    filename: str,
    *,
    file_queue: str = FILE_QUEUE,
    slave_id: int = 0,
    key: Pair | None = None,
    check: Callable[[], None] = lambda: None,
    sent: Callable[[int], None] = lambda _: None,
) -> None:
    """Send the one of *packages* with the name *filename* to the master's address *file_queue*.

    *slave_id* is the number of the slave or of the import, *key* the key pair of this program.
    *check* is called several times a second, and may raise an exception to stop the transfer;
    *sent* is called with the number of bytes of each chunk. Returns when the master has the whole
    file. Raises ``Refused`` if no package has this name, ``Unavailable`` if no master accepts
    files.
    """
    wheel = next((each for each in packages if each.filename == filename), None)
    if wheel is None:
        raise Refused("SEND", f"the master requests {filename!r}, which is not among the files")
    with Context().socket(zmq.DEALER) as queue:
        queue.setsockopt(zmq.IMMEDIATE, 1)  # queue no HELLO while there is no connection
        queue.identify(key)
        queue.connect(file_queue)
        if not queue.poll(CONNECT_LIMIT, zmq.POLLOUT):
            raise Unavailable(
                f"no master accepts files at {file_queue}: give its address with --file-queue"
            )
        wheel.transfer(queue, slave_id, check, sent)


def _reason(text: str) -> list[str]:
    # Masters of earlier versions do not know this field.
    return [text] if text else []
