"""MrChase, who adds, removes and skips packages and versions as the admin tools ask."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import zmq
from packaging.version import InvalidVersion, Version

from piwheels.core.errors import BadMessage, PiWheelsError, Refused, Unavailable, one_line
from piwheels.core.protocols import mr_chase
from piwheels.core.rpc import Client
from piwheels.core.tags import canonical
from piwheels.core.tasks import NonStopTask
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import big_brother

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from piwheels.core.protocols import AddPackage, AddVersion, RemovePackage, RemoveVersion
    from piwheels.core.rows import ProjectData
    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: Seconds that SlaveDriver and TheSecretary may take for one answer.
DRIVER_TIMEOUT, WEB_TIMEOUT = 10.0, 60.0
#: How many other names one message may give a package.
MAX_ALIASES: Final = 100
#: How many requests to rebuild pages are under way at once, when all are to be.
WINDOW: Final = 1000
#: Why a version is not built while its builds are being removed: the next must not come too early.
HOLD: Final = "its builds are being removed"


class MrChase(NonStopTask):
    """Answers each request of an admin tool with ``DONE`` and a code word, or ``ERROR`` and why.

    Names are taken in any spelling and kept in the canonical one (PEP 503), the spelling given as
    another name of the package; versions are kept as they are spelled, and must be such (PEP 440).
    Requests are dealt with one after the other; the tools wait for it.
    """

    name = "mr_chase"
    stuck_after = 1200.0  # one request may be about every version or every page

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        requests = self.socket(zmq.ROUTER, mr_chase)
        requests.bind(config.import_queue)
        self.register(requests, self.handle_import)
        self.db = DbClient(config, self.logger)
        self.web = Client(self.ctx, config.web_queue, "TheSecretary", self.logger)
        self.driver = Client(self.ctx, config.delete_queue, "SlaveDriver", self.logger)
        self.stats = self.socket(zmq.PUSH, reversed(big_brother))
        self.stats.connect(config.stats_queue)
        self._requests: dict[str, Callable[[Any], str]] = {
            "ADDPKG": self.do_addpkg,
            "ADDVER": self.do_addver,
            "REMPKG": self.do_rempkg,
            "REMVER": self.do_remver,
            "REBUILD": self.do_rebuild,
            "IMPORT": self.do_import,
            "SENT": self.do_sent,
        }

    def close(self) -> None:
        """Close the connections that are not registered, too."""
        super().close()
        for each in (self.db, self.web, self.driver, self.stats):
            each.close()

    def handle_import(self, queue: Socket) -> None:
        """Answer a request, whatever it is."""
        try:
            addr, msg, data = queue.recv_addr_msg()
        except BadMessage as exc:
            self.note_bad_message(exc)
            if exc.address:
                queue.send_addr_msg(exc.address, "ERROR", one_line(f"not understood: {exc}"))
            return
        try:
            reply = "DONE", self._requests[msg](data)
        except Refused as exc:
            reply = "ERROR", one_line(exc)
        except PiWheelsError as exc:
            self.logger.error("could not do %s: %s", msg, exc)
            reply = "ERROR", one_line(exc)
        else:
            self.logger.info("%s %s: %s", msg, "/".join(map(str, data[:2])), reply[1])
        queue.send_addr_msg(addr, *reply)

    # What comes -----------------------------------------------------------------------------

    def do_addpkg(self, add: AddPackage) -> str:
        """Register a package, or change what is said of it: NEWPKG, SKIPPKG or UPDPKG."""
        _not_both(add.skip, add.unskip, "skip and unskip")
        package = canonical(add.package)
        names = self._names(package, [add.package, *add.aliases])
        if self.db.add_new_package(package, add.skip, add.description):
            done = "NEWPKG"
        else:
            done = "SKIPPKG" if add.skip else "UPDPKG"
            if add.description:
                self.db.set_package_description(package, add.description)
            if add.skip or add.unskip:
                self.db.skip_package(package, add.skip)
        for name in names:
            self.db.add_package_name(package, name)
        self._rewrite(package)
        return done

    def do_addver(self, add: AddVersion) -> str:
        """Register a version, or change its state: NEWVER, SKIPVER, YANKVER or UPDVER."""
        _not_both(add.skip, add.unskip, "skip and unskip")
        _not_both(add.yank, add.unyank, "yank and unyank")
        package, version = canonical(add.package), add.version
        try:
            Version(version)
        except InvalidVersion:
            raise Refused("BADVER", f"{version!r} is not a version (PEP 440)") from None
        if not self.db.test_package(package):
            raise Refused("NOPKG")
        names = self._names(package, [add.package, *add.aliases])
        if self.db.add_new_package_version(package, version, add.released, add.skip):
            done = "NEWVER"
        else:
            done = "SKIPVER" if add.skip else "YANKVER" if add.yank else "UPDVER"
            if add.skip or add.unskip:
                self.db.skip_package_version(package, version, add.skip)
        if add.yank:
            self.db.yank_version(package, version)
        if add.unyank:
            self.db.unyank_version(package, version)
        for name in names:
            self.db.add_package_name(package, name)
        self._rewrite(package)
        return done

    def _names(self, package: str, names: Sequence[str]) -> list[str]:
        """Return which of *names* are other names of *package*; refuse those of other packages."""
        if len(names) > MAX_ALIASES:
            raise Refused("ALIASES", f"more than {MAX_ALIASES} other names at once")
        others = sorted(set(names) - {package})
        for name in others:
            if canonical(name) != package and self.db.test_package(canonical(name)):
                raise Refused("ALIASES", f"{name} is the name of another package")
        return others

    # What goes ------------------------------------------------------------------------------

    def do_rempkg(self, remove: RemovePackage) -> str:
        """Remove a package (DELPKG), or only its builds (DELPKGBLD), or skip it (SKIPPKG)."""
        package = canonical(remove.package)
        data = self._project(package)
        if remove.builds:
            self.db.skip_package(package, HOLD)
            self.driver.call("DELPKG", package, DRIVER_TIMEOUT)
            self.db.add_rewrite(package, "BOTH")
            for version in data["releases"]:
                self.db.delete_build(package, version)
            self.web.call("DELPKG", package, WEB_TIMEOUT)
            self.db.skip_package(package, remove.skip or _unheld(data["skip"]))
            self._rewrite(package)
            return "DELPKGBLD"
        if remove.skip:
            self.db.skip_package(package, remove.skip)
            self._rewrite(package)
            return "SKIPPKG"
        self.driver.call("DELPKG", package, DRIVER_TIMEOUT)
        # Should we end half-way, the next master finds by this that the pages have to go.
        self.db.add_rewrite(package, "BOTH")
        self.db.delete_package(package)
        self.web.call("DELPKG", package, WEB_TIMEOUT)
        return "DELPKG"

    def do_remver(self, remove: RemoveVersion) -> str:
        """Remove a version (DELVER) or its builds (DELVERBLD), yank it (YANKVER), or SKIPVER."""
        package, version = canonical(remove.package), remove.version
        release = self._project(package)["releases"].get(version)
        if release is None:
            raise Refused("NOVER")
        if remove.yank:
            self.db.yank_version(package, version)
        if remove.builds:
            self.db.skip_package_version(package, version, HOLD)
            self._delete_version(package, version, self.db.delete_build)
            skip = remove.skip or _unheld(release["skip"])
            self.db.skip_package_version(package, version, skip)
        elif remove.skip:
            self.db.skip_package_version(package, version, remove.skip)
        elif not remove.yank:
            self._delete_version(package, version, self.db.delete_version)
        self._rewrite(package)
        if remove.builds:
            return "DELVERBLD"
        return "YANKVER" if remove.yank else "SKIPVER" if remove.skip else "DELVER"

    def _delete_version(self, package: str, version: str, delete: Any) -> None:
        self.driver.call("DELVER", [package, version], DRIVER_TIMEOUT)
        self.db.add_rewrite(package, "BOTH")
        delete(package, version)
        self.web.call("DELVER", [package, version], WEB_TIMEOUT)

    def _project(self, package: str) -> ProjectData:
        data = self.db.get_project_data(package)
        if data is None:
            raise Refused("NOPKG")
        return data

    # Pages ----------------------------------------------------------------------------------

    def do_rebuild(self, what: Sequence[str | None]) -> str:
        """Have pages written again: REBUILD, when that is noted (for the search index: done)."""
        match what:
            case ("HOME",):
                self.stats.send_msg("HOME", flags=zmq.DONTWAIT)
            case ("SEARCH",):
                self.web.call("SEARCH", timeout=WEB_TIMEOUT)
            case (str() as part, None):
                self._rewrite_all(part, self.db.get_all_packages())
            case (str() as part, str() as package):
                if not self.db.test_package(canonical(package)):
                    raise Refused("NOPKG")
                self._rewrite(canonical(package), part)
        return "REBUILD"

    def _rewrite(self, package: str, part: str = "BOTH") -> None:
        self.db.add_rewrite(package, part)  # TheSecretary takes her time; a crash may come first
        self.web.call(part, package, WEB_TIMEOUT)

    def _rewrite_all(self, part: str, packages: Iterable[str]) -> None:
        waiting: set[int] = set()
        for package in sorted(packages):
            waiting.add(self.web.request(part, package))
            self._noted(waiting, WINDOW)
        self._noted(waiting, 0)

    def _noted(self, waiting: set[int], most: int) -> None:
        """Wait until at most *most* requests are not noted yet."""
        deadline = time.monotonic() + WEB_TIMEOUT
        while len(waiting) > most:
            if not self.web.socket.poll(max(0.0, deadline - time.monotonic())):
                raise Unavailable("TheSecretary takes no more requests: the site is not written?")
            for answer in self.web.answers():
                waiting.discard(answer.ticket)
                if answer.error is not None:
                    raise answer.error

    # Files ----------------------------------------------------------------------------------

    def do_import(self, _: Any) -> str:
        """Refuse: files are not imported yet."""
        raise Refused("IMPORT", "importing files comes with a later version of the master")

    def do_sent(self, _: Any) -> str:
        """Refuse: no file was asked for."""
        raise Refused("SENT", "no file was asked for")


def _not_both(one: object, other: object, what: str) -> None:
    if one and other:
        raise Refused("BOTH", f"{what} exclude each other")


def _unheld(reason: str) -> str:
    """Return *reason*, unless it is ours, left from a removal that was cut short."""
    return "" if reason == HOLD else reason
