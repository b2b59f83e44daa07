"""MrChase, who adds, removes, skips and imports packages and versions as the admin tools ask."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

import zmq

from piwheels.core.errors import BadMessage, PiWheelsError, Refused, Unavailable, one_line
from piwheels.core.protocols import mr_chase
from piwheels.core.tasks import PausingTask
from piwheels.core.wheels.tags import canonical, is_version, same_version
from piwheels.master.importing import ImportDesk
from piwheels.master.logic.imports import check
from piwheels.master.rpc import Client
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import big_brother

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from piwheels.core.database.rows import ProjectData, ProjectRelease
    from piwheels.core.protocols import AddPackage, AddVersion, RemovePackage, RemoveVersion
    from piwheels.core.states import BuildState
    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: Seconds that SlaveDriver and TheSecretary may take for one answer.
DRIVER_TIMEOUT, WEB_TIMEOUT = 10.0, 60.0
#: How many other names one message may give a package.
MAX_ALIASES: Final = 100
#: How many requests to rebuild pages are made in one go, when all are to be; how many tools may
#: want that at a time.
WINDOW: Final = 1000
MAX_REWRITING: Final = 4


class MrChase(PausingTask):
    """Answers each request of an admin tool with ``DONE`` and a code word, or ``ERROR`` and why.

    Names are taken in any spelling and kept in the canonical one (PEP 503), the spelling given as
    another name of the package; versions are kept as they are spelled, and must be such (PEP 440).
    Requests are dealt with one after the other; the tools wait for it. An import, which takes
    several, does not stop the others (:mod:`piwheels.master.importing`). Of a farm that is paused
    nothing is removed: its site would go on to have it.
    """

    name = "mr_chase"
    #: How often it is looked whether imports go on.
    look: ClassVar[timedelta] = timedelta(seconds=5)
    stuck_after = 1200.0  # one request may be about every version or every page

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        requests = self.socket(zmq.ROUTER, mr_chase)
        requests.bind(config.import_queue)
        self.register(requests, self.handle_import)
        self._tools = requests
        #: Who wants the pages of all packages written, which pages, and the packages that are left.
        self._rewriting: deque[tuple[bytes, str, Iterator[str]]] = deque()
        self.desk = ImportDesk(config, self, requests.send_addr_msg)
        self.every(self.look, self.desk.tick)
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
            "WATCH": self.do_watch,
            "UNWATCH": self.do_unwatch,
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
            if msg == "SENT":
                self.desk.sent(addr)
                return  # the reply follows, when the file has been verified
            self.desk.leave(addr)  # a tool that is at something else has given its import up
            if msg == "IMPORT":
                self.do_import(addr, data)
                return  # the reply follows, when the file is expected
            if msg == "REBUILD" and data[1:] == (None,):
                self._begin_rewriting(addr, data[0])
                return  # the reply follows, when all of it is noted
            reply = "DONE", self._requests[msg](data)
        except Refused as exc:
            reply = "ERROR", one_line(exc)
        except PiWheelsError as exc:
            self.logger.error("could not do %s: %s", msg, exc)
            reply = "ERROR", one_line(exc)
        else:
            about = [data] if isinstance(data, str) else data[:2]
            self.logger.info("%s %s: %s", msg, "/".join(map(str, about)), reply[1])
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
            if add.unskip:
                self.db.hold_builds(package, None, False)
        for name in names:
            self.db.add_package_name(package, name)
        self._rewrite(package)
        return done

    def do_addver(self, add: AddVersion) -> str:
        """Register a version, or change its state: NEWVER, SKIPVER, YANKVER or UPDVER."""
        _not_both(add.skip, add.unskip, "skip and unskip")
        _not_both(add.yank, add.unyank, "yank and unyank")
        package, version = canonical(add.package), add.version
        if not is_version(version):
            raise Refused("BADVER", f"{version!r} is not a version (PEP 440)")
        if not self.db.test_package(package):
            raise Refused("NOPKG")
        names = self._names(package, [add.package, *add.aliases])
        if self.db.add_new_package_version(package, version, add.released, add.skip):
            done = "NEWVER"
        else:
            done = "SKIPVER" if add.skip else "YANKVER" if add.yank else "UPDVER"
            if add.skip or add.unskip:
                self.db.skip_package_version(package, version, add.skip)
            if add.unskip:
                self.db.hold_builds(package, version, False)
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
        if remove.builds or not remove.skip:
            self._check_awake()
        if not (remove.builds or remove.skip):
            self._delete_package(package)
            return "DELPKG"
        data = self._project(package)
        if not remove.builds:
            self.db.skip_package(package, remove.skip)
            self._rewrite(package)
            return "SKIPPKG"
        if remove.skip:
            self.db.skip_package(package, remove.skip)
        self.db.hold_builds(package, None, True)
        self.driver.call("DELPKG", package, DRIVER_TIMEOUT)
        self.db.add_rewrite(package, "BOTH")
        for version in data["releases"]:
            self.db.delete_build(package, version)
        self.web.call("DELPKG", package, WEB_TIMEOUT)
        self.db.hold_builds(package, None, False)
        self._rewrite_now(package)
        return "DELPKGBLD"

    def _check_awake(self) -> None:
        """See to it that the site can be written: else what is removed would stay there."""
        if self.paused:
            raise Refused("PAUSED", "the farm is paused, and its site with it: wake it first")

    def _delete_package(self, package: str) -> None:
        if not self.db.test_package(package):
            raise Refused("NOPKG")
        self.db.unwatch_package(package)  # or its next release would bring it back
        self.driver.call("DELPKG", package, DRIVER_TIMEOUT)
        # Should we end half-way, the next master finds by this that the pages have to go.
        self.db.add_rewrite(package, "BOTH")
        self.db.delete_package(package)
        self.web.call("DELPKG", package, WEB_TIMEOUT)

    def do_remver(self, remove: RemoveVersion) -> str:
        """Remove a version (DELVER) or its builds (DELVERBLD), yank it (YANKVER), or SKIPVER."""
        package, version = canonical(remove.package), remove.version
        if remove.builds or not (remove.skip or remove.yank):
            self._check_awake()
        if not (remove.builds or remove.skip or remove.yank):
            if not self.db.test_package_version(package, version):
                raise Refused("NOVER" if self.db.test_package(package) else "NOPKG")
            self._delete_version(package, version, self.db.delete_version)
            self._rewrite(package)
            return "DELVER"
        self._release(self._project(package), version)
        if remove.yank:
            self.db.yank_version(package, version)
        if remove.builds:
            if remove.skip:
                self.db.skip_package_version(package, version, remove.skip)
            self.db.hold_builds(package, version, True)
            self._delete_version(package, version, self.db.delete_build)
            self.db.hold_builds(package, version, False)
            self._rewrite_now(package)
            return "DELVERBLD"
        if remove.skip:
            self.db.skip_package_version(package, version, remove.skip)
        self._rewrite(package)
        return "YANKVER" if remove.yank else "SKIPVER"

    def _delete_version(self, package: str, version: str, delete: Any) -> None:
        self.driver.call("DELVER", [package, version], DRIVER_TIMEOUT)
        self.db.add_rewrite(package, "BOTH")
        delete(package, version)
        self.web.call("DELVER", [package, version], WEB_TIMEOUT)

    def _project(self, package: str) -> ProjectData:
        """Return what is known of *package*. What is marked as deleted has to be brought back."""
        data = self.db.get_project_data(package)
        if data is None:
            raise Refused("SKIPPKG" if self.db.test_package(package) else "NOPKG")
        return data

    def _release(self, data: ProjectData, version: str) -> ProjectRelease:
        if version not in data["releases"]:
            deleted = self.db.test_package_version(data["name"], version)
            raise Refused("SKIPVER" if deleted else "NOVER")
        return data["releases"][version]

    # Pages ----------------------------------------------------------------------------------

    def do_rebuild(self, what: Sequence[str | None]) -> str:
        """Have pages written again: REBUILD, when that is noted (for the search index: done)."""
        match what:
            case ("HOME",):
                self.stats.send_msg("HOME", flags=zmq.DONTWAIT)
            case ("SEARCH",):
                for msg in ("SEARCH", "ROOT"):
                    self.web.call(msg, timeout=WEB_TIMEOUT)
            case (str() as part, str() as package):
                if not self.db.test_package(canonical(package)):
                    raise Refused("NOPKG")
                self._rewrite(canonical(package), part)
        return "REBUILD"

    def _rewrite(self, package: str, part: str = "BOTH") -> None:
        """Have the pages of *package* written within a minute; that is noted on return."""
        self.web.call(part, package, WEB_TIMEOUT)

    def _rewrite_now(self, package: str) -> None:
        """Have the pages of *package* written at once: as they are, they tell of a removal."""
        self.db.add_rewrite(package, "BOTH")
        self.web.call("NOTED", ["URGENT", package], WEB_TIMEOUT)

    def _begin_rewriting(self, addr: bytes, part: str) -> None:
        if len(self._rewriting) >= MAX_REWRITING:
            raise Refused("REBUILD", "the pages of all packages are being asked for: wait for that")
        self._rewriting.append((addr, part, iter(sorted(self.db.get_all_packages()))))

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle; with a part of the pages of all packages, if somebody wants those."""
        if self._rewriting:
            self._rewrite_some()
            timeout = 0
        super().poll(timeout)

    def _rewrite_some(self) -> None:
        addr, part, packages = self._rewriting[0]
        some = list(islice(packages, WINDOW))
        try:
            self._noted({self.web.request(part, package) for package in some})
        except PiWheelsError as exc:
            self.logger.error("could not do REBUILD: %s", exc)
            reply = "ERROR", one_line(exc)
        else:
            if len(some) == WINDOW:
                return
            reply = "DONE", "REBUILD"
        self._rewriting.popleft()
        self._tools.send_addr_msg(addr, *reply)

    def _noted(self, waiting: set[int]) -> None:
        """Wait until all these requests are noted."""
        deadline = self.clock.monotonic() + WEB_TIMEOUT
        while waiting:
            if not self.web.socket.poll(max(0.0, deadline - self.clock.monotonic())):
                raise Unavailable("TheSecretary takes no more requests: the site is not written?")
            for answer in self.web.answers():
                waiting.discard(answer.ticket)
                if answer.error is not None:
                    raise answer.error

    # Files ----------------------------------------------------------------------------------

    def do_import(self, addr: bytes, build: BuildState) -> None:
        """Begin to take in a build of a tool, if that is allowed: SEND follows.

        Neither a skip nor a yank forbids it (docs/decisions/0028), only a deletion that is marked,
        or a removal of builds that is in progress.
        """
        data = self._project(canonical(build.package))
        if self.db.builds_held(data["name"]):
            raise Refused("SKIPPKG")
        if build.version not in data["releases"]:
            # A wheel's name spells its version in the normal way, the index as it likes.
            same = (each for each in data["releases"] if same_version(each, build.version))
            build.version = next(same, build.version)
        self._release(data, build.version)
        if self.db.builds_held(data["name"], build.version):
            raise Refused("SKIPVER")
        check(build, list(self.db.get_build_queue(1)), self.db.get_build_abis())
        self.desk.begin(addr, build)

    # Upstream -------------------------------------------------------------------------------

    def do_watch(self, name: str) -> str:
        """Have CloudGazer follow the project *name*: WATCH."""
        self.db.watch_package(canonical(name))
        return "WATCH"

    def do_unwatch(self, name: str) -> str:
        """Have CloudGazer follow the project *name* no more: UNWATCH, NOPKG if nobody had asked."""
        if not self.db.unwatch_package(canonical(name)):
            raise Refused("NOPKG")
        return "UNWATCH"


def _not_both(one: object, other: object, what: str) -> None:
    if one and other:
        raise Refused("BOTH", f"{what} exclude each other")
