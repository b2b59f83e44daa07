"""The way of a build to the network: its proxy, its pip settings, the rest of its environment."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.version import Version

from piwheels.core.host.pip_config import INDEX_SECONDS, IndexAccess
from piwheels.core.host.processes import build_environment
from piwheels.core.program.builds import allowed_host
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.wheels.tags import canonical
from piwheels.slave.egress import listen, pages
from piwheels.slave.egress.ledger import Ledger
from piwheels.slave.egress.mirror import LIMITS, Mirror, Upstream
from piwheels.slave.egress.proxy import Proxy
from piwheels.slave.egress.rules import allowances
from piwheels.slave.egress.selection import oldest_tools, selection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from piwheels.core.states import Fetch

#: The port of the proxy in a network of its own: the same for each build.
PORT: Final = 8128

#: pip's settings that the mirror replaces: addresses and how to reach them, some with passwords.
_REPLACED: Final = (
    "index-url", "pypi-url", "extra-index-url", "find-links", "proxy", "cert", "client-cert",
    "trusted-host", "keyring-provider", "timeout", "default-timeout", "cache-dir", "config-file",
)  # fmt: skip
#: The variables by which programs find a proxy.
_PROXIES: Final = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
)  # fmt: skip
_NO_PROXIES: Final = ("NO_PROXY", "no_proxy")


@dataclass(frozen=True)
class Egress:
    """What the builds of a slave may reach: the indexes of pip's *settings*, and *allowed* hosts.

    *index* is pip's default index. *is_open*: everything, without a proxy; *settings* are then as
    in :func:`~piwheels.core.host.processes.build_environment`. *offline*: a build fetches all that
    it needs before it compiles. *requirements* is an index that alone has what a build requires:
    from the others it gets only its own project (``""``: all have everything).
    """

    settings: Mapping[str, str] | None = None
    index: str = ""
    allowed: Collection[str] = frozenset()
    is_open: bool = False
    offline: bool = False
    requirements: str = ""

    @property
    def access(self) -> IndexAccess:
        """How the slave connects to indexes: as pip would."""
        given = self.settings or {}
        trusted = given.get("trusted-host", "").split()
        paths = given.get("cert"), given.get("client-cert")
        timeout = given.get("timeout") or given.get("default-timeout") or ""
        seconds = float(timeout) if timeout.isdigit() else INDEX_SECONDS
        return IndexAccess(self.index, *paths, given.get("proxy"), trusted, seconds)


@dataclass(frozen=True)
class Sources:
    """Where a build finds packages: addresses for its pip, and what the mirror has behind them."""

    index: str
    extra: tuple[str, ...]
    links: tuple[str, ...]
    upstreams: tuple[Upstream, ...]


def sources(
    egress: Egress, port: int, index: str | None, extra: Collection[str] = (), package: str = ""
) -> Sources:
    """Return the sources of a build by pip's settings; *index* and *extra* take precedence.

    Folders of this machine that are lists of files stay as they are: the build reads them. With
    :attr:`Egress.requirements`, there are no such lists, and the others have only *package*.
    """
    upstreams: list[Upstream] = []
    own = canonical(package) if egress.requirements else ""

    def address(url: str, is_list: bool = False, never: str = "") -> str:
        is_local = pages.is_local(url) and not is_list
        if not is_local and not url.startswith(("http://", "https://")):
            return url
        upstreams.append(Upstream(url, is_list, "" if never else own, never))
        return f"http://127.0.0.1:{port}/{len(upstreams) - 1}/"

    given = egress.settings or {}
    more = [*given.get("extra-index-url", "").split(), *sorted(extra)]
    lists = [] if egress.requirements else given.get("find-links", "").split()
    first = address(index or given.get("index-url") or egress.index)
    others = [address(url) for url in more]
    if egress.requirements:
        others.append(address(egress.requirements, never=own))
    links = tuple(address(url, is_list=True) for url in lists)
    return Sources(first, tuple(others), links, tuple(upstreams))


def environment(  # noqa: PLR0917
    egress: Egress,
    home: Path,
    temp: Path,
    port: int,
    index: str | None = None,
    extra: Collection[str] = (),
) -> dict[str, str]:
    """Return the environment of a build, whose proxy has this *port*.

    *index* and *extra* are as in :func:`sources`, the rest as in
    :func:`~piwheels.core.host.processes.build_environment`.
    """
    if egress.is_open:
        return build_environment(home, temp, egress.settings)
    given, found = egress.settings or {}, sources(egress, port, index, extra)
    settings = {name: text for name, text in given.items() if name not in _REPLACED} | {
        "index-url": found.index,
        "extra-index-url": " ".join(found.extra),
        "find-links": " ".join(found.links),
        "default-timeout": f"{LIMITS.total:.0f}",  # the proxy has limits of its own
    }
    variables = build_environment(home, temp, {key: text for key, text in settings.items() if text})
    proxies = dict.fromkeys(_PROXIES, f"http://127.0.0.1:{port}")
    return variables | proxies | dict.fromkeys(_NO_PROXIES, "127.0.0.1,localhost")


class Network:
    """The network of one build: its mirror and its ledger. *folder* gets files for a moment.

    *index*, *extra* and *package* are as in :func:`sources`. *note* gets sentences for the log of
    the build, whose *recipe* has no faults. Call :meth:`close` at the end.
    """

    def __init__(  # noqa: PLR0917
        self,
        egress: Egress,
        index: str | None,
        extra: Collection[str],
        folder: Path,
        note: Callable[[str], None],
        package: str = "",
        recipe: Recipe = PLAIN,
    ) -> None:
        self._access = egress.access
        self._ledger = Ledger()
        self._package, self._recipe = package, recipe
        self._note = note
        self._noted: set[str] = set()
        self._mirror = Mirror(
            self._access,
            sources(egress, PORT, index, extra, package).upstreams,
            allowances(egress.allowed, [allowed_host(text) for text in recipe.hosts]),
            self._ledger,
            folder,
            selection(package, recipe),
            unreachable=self._unreachable,
            undated=self._undated,
            keep=egress.offline,
        )
        self._gate: Gate | None = None

    def open(self, *, own: bool) -> Gate:
        """Return the gate for the next command of the build, with *own* in a network of its own.

        The gate of the command before is closed.
        """
        if self._gate is not None:
            self._gate.close()
        self._gate = Gate(self._mirror, self._ledger, self._access, own=own)
        return self._gate

    def hide_later(self, version: str, python: str) -> None:
        """Hide what was uploaded too late after the *version* to build, by the recipe.

        *python* is the version to build for, such as ``"311"``.
        """
        if self._recipe.release_plus is None:
            return
        released = self._mirror.released(self._package, Version(version))
        if released is None:
            what = f"the index does not say when {self._package} {version} was uploaded"
            self._note(f"{what}: the build gets what is newer, too")
            return
        latest = max(released + self._recipe.release_plus, oldest_tools(python))
        before = min(latest, self._recipe.before or latest)
        self._note(f"the build requires nothing uploaded after {before:%Y-%m-%d %H:%M}")
        self._mirror.selection = self._mirror.selection._replace(before=before)

    def source(self, version: str, folder: Path) -> Path:
        """Fetch the source distribution of the *version* to build into *folder*; return its path.

        Raises :exc:`~piwheels.core.errors.Unavailable`.
        """
        name, answer = self._mirror.source(self._package, Version(version))
        assert answer.body is not None  # noqa: S101 (it was fetched)
        try:
            with (folder / name).open("wb") as file:
                answer.body.seek(0)
                shutil.copyfileobj(answer.body, file)
        finally:
            answer.close()
        return folder / name

    def seal(self) -> None:
        """From now on, the build gets only what it has fetched."""
        self._mirror.seal()

    def abort(self) -> None:
        """Abort what is being fetched, and fetch nothing more."""
        self._mirror.abort()

    def entries(self) -> tuple[Fetch, ...]:
        """Return what the build has asked for so far."""
        return self._ledger.entries()

    def _unreachable(self, why: str) -> None:
        self._note_once("unreachable", f"this slave cannot reach the index: {why}")

    def _undated(self, project: str) -> None:
        what = f"the index does not say when files of {project} were uploaded"
        self._note_once("undated", f"{what}: the build gets all of these, and of others like them")

    def _note_once(self, about: str, sentence: str) -> None:
        if about not in self._noted:
            self._noted.add(about)
            self._note(sentence)

    def close(self) -> None:
        """End all connections of the build, and close everything."""
        self.abort()
        if self._gate is not None:
            self._gate.close()
        self._mirror.close()


class Gate:
    """The proxy for one command of a build: on a port of this machine, or in a network of its own.

    Call :meth:`close` at the end.
    """

    def __init__(self, mirror: Mirror, ledger: Ledger, access: IndexAccess, *, own: bool) -> None:
        ours, theirs = socket.socketpair() if own else (None, None)
        self._ours: socket.socket | None = ours
        self._theirs: socket.socket | None = theirs
        self._listener = None if own else socket.create_server(("127.0.0.1", 0), backlog=128)
        #: The port of the proxy on 127.0.0.1.
        self.port: int = self._listener.getsockname()[1] if self._listener else PORT
        self._proxy = Proxy(self._listen, mirror, ledger, access, self._is_known)

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that the command inherits."""
        return [self._theirs.fileno()] if self._theirs else []

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that opens the port in its network, if needed, then runs *command*."""
        if not self.descriptors:
            return list(command)
        text = Path(listen.__file__).read_text(encoding="utf-8")
        numbers = map(str, (*self.descriptors, self.port))
        return [command[0], "-I", "-S", "-c", text, *numbers, *command]

    def start(self) -> None:
        """Serve the command, which has been started."""
        if self._theirs:
            self._theirs.close()
        self._proxy.start()

    def close(self) -> None:
        """End all connections."""
        for each in (self._ours, self._theirs, self._listener):
            if each is not None:
                with suppress(OSError):  # closed already
                    each.shutdown(socket.SHUT_RDWR)
        self._proxy.close()
        for each in (self._ours, self._theirs, self._listener):
            if each is not None:
                each.close()

    def _listen(self) -> socket.socket | None:
        """Return the listener; that of another network comes through the pair of sockets."""
        if self._ours is not None:
            with suppress(OSError):
                found = socket.recv_fds(self._ours, 1, 1)[1]
                if found:
                    self._listener = socket.socket(fileno=found[0])
                    self._listener.set_inheritable(False)
        return self._listener

    def _is_known(self, peer: tuple[str, int]) -> bool:
        """Return whether *peer* is a process of this user: other users get nothing."""
        return self._ours is not None or owner(peer[1], self.port) == os.getuid()


def owner(port: int, to: int) -> int | None:
    """Return the user who connects from *port* to the port *to*, both on 127.0.0.1."""
    host = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}"
    wanted = [f"{host}:{port:04X}", f"{host}:{to:04X}"]
    with suppress(OSError), open("/proc/net/tcp", encoding="ascii") as lines:  # noqa: PTH123
        fields = map(str.split, lines)
        return next((int(each[7]) for each in fields if each[1:3] == wanted), None)
    return None
