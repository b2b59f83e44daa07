"""MrChase: adds, removes, skips and imports packages and versions for the admin tools."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

from piwheels.core.database.recipes import LAST, PART
from piwheels.core.database.rows import BINARY_ONLY, NewAttempt
from piwheels.core.errors import BadMessage, PiWheelsError, Refused, one_line
from piwheels.core.protocols import RetryFailed, WhyAnswer
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.targets import Target
from piwheels.core.tasks import PausingTask
from piwheels.core.wheels.tags import canonical, is_version, known_spelling
from piwheels.core.words import counted
from piwheels.master.importing import ImportDesk
from piwheels.master.logic import cures
from piwheels.master.logic.imports import check
from piwheels.master.logic.why import places_of, why
from piwheels.master.messages import (
    DeletePackage,
    DeleteVersion,
    ListAbilities,
    PagesNoted,
    RefreshHome,
    RewritePages,
    WriteRoot,
    WriteSearch,
)
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from piwheels.core.database.rows import ProjectData, ProjectRelease, StandingFailure
    from piwheels.core.protocols import (
        AddPackage,
        AddVersion,
        AskWhy,
        Job,
        RemovePackage,
        RemoveVersion,
        RetryReason,
        SetRecipe,
        StoredRecipe,
    )
    from piwheels.core.states import BuildState
    from piwheels.master.messages import Ability, Deletion, Part
    from piwheels.master.ports import Inbox
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

#: Seconds that SlaveDriver and TheSecretary may take for one answer.
DRIVER_TIMEOUT, WEB_TIMEOUT = 10.0, 60.0
#: The most other names of a package in one message.
MAX_ALIASES: Final = 100
#: The most requests to rewrite pages that are in flight when a tool rebuilds all pages; the most
#: tools that may do so at the same time.
WINDOW: Final = 1000
MAX_REWRITING: Final = 4
#: How many packages are looked through at once for failures; how many versions one answer is about.
RANGE: Final = 1000
MAX_VERSIONS: Final = 100
#: Reasons of skips that the master itself gives, and ends.
_RESERVED: Final = frozenset({BINARY_ONLY, "deleted"})
_END: Final = 2**62


@dataclass
class _Rewriting:
    """A request of the tool at *addr* to rewrite many pages, and the *reply* at the end.

    *packages* are the remaining ones.
    """

    addr: bytes
    part: Part
    packages: Iterator[str]
    reply: str
    in_flight: int = 0


@dataclass
class _Cures:
    """A request of the tool at *addr* to try again what could be cured (*preview*: to count it).

    *ends* are the last ones of ranges of packages; *last* is that of the present one, *after* where
    to continue in it. *places* say what slaves can do; *packages* are those of the attempts so far.
    """

    addr: bytes
    preview: bool
    ends: Iterator[str]
    places: dict[Target, cures.Place]
    last: str = ""
    after: tuple[str, int] = ("", 0)
    count: int = 0
    packages: set[str] = field(default_factory=set)

    def attempts(self, failures: Sequence[StandingFailure]) -> list[NewAttempt]:
        """Return the attempts that slaves could make now after *failures*."""
        found = []
        for failure in failures:
            place = self.places.get(Target(failure.platform, failure.abi_tag))
            if place is not None and (attempt := cures.revived(failure, place)) is not None:
                found.append(attempt)
        return found


class MrChase(PausingTask):
    """Answers each request of an admin tool: ``DONE`` and a code, or ``ERROR`` and a reason.

    Names may have any spelling and are stored in the canonical one (PEP 503), with the given
    spelling as another name of the package. Versions must be valid (PEP 440); each is stored in the
    first spelling, and found in any. Requests are handled one after the other, while the tools
    wait. An import, which takes several requests, does not block the others
    (:mod:`piwheels.master.importing`). Removals are refused while the farm is paused, because its
    site would not change.
    """

    name = "mr_chase"
    #: How often the progress of imports is checked.
    check_interval: ClassVar[timedelta] = timedelta(seconds=5)
    stuck_after = 1200.0  # one request may be about every version or every page

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.ports = Ports("MrChase", config, self.logger, self)
        self.ports.serve("import", self.handle_import)
        self._tools = self.ports.socket("import")
        #: Requests to rewrite the pages of all packages; the first is in progress.
        self._rewritings: deque[_Rewriting] = deque()
        self.desk = ImportDesk(self.ports, self, self._tools.send_addr_msg)
        self.every(self.check_interval, self.desk.tick)
        self.db = DbClient(self.ports)
        self._requests: dict[str, Callable[[Any], str]] = {
            "ADDPKG": self.do_addpkg,
            "ADDVER": self.do_addver,
            "REMPKG": self.do_rempkg,
            "REMVER": self.do_remver,
            "REBUILD": self.do_rebuild,
            "RETRY": self.do_retry,
            "RETRYREASON": self.do_retryreason,
            "RETRYVERSION": self.do_retryversion,
            "SETRECIPE": self.do_setrecipe,
            "WATCH": self.do_watch,
            "UNWATCH": self.do_unwatch,
        }
        #: The requests that are answered with more than a word.
        self._questions: dict[str, Callable[[Any], Any]] = {
            "RECIPES": self.do_recipes,
            "WHY": self.do_why,
        }

    def handle_import(self, queue: Inbox[Any]) -> None:
        """Answer a request, valid or not."""
        try:
            addr, msg, data = queue.recv_addr_msg()
        except BadMessage as exc:
            self.note_bad_message(exc)
            if exc.address:
                queue.send_addr_msg(exc.address, "ERROR", one_line(f"not understood: {exc}"))
            return
        try:
            if self._answers_later(addr, msg, data, queue.sender.name):
                return
            if msg in self._questions:
                queue.send_addr_msg(addr, msg, self._questions[msg](data))
                return
            reply = "DONE", self._requests[msg](data)
        except Refused as exc:
            reply = "ERROR", one_line(exc)
        except PiWheelsError as exc:
            self.logger.error("could not do %s: %s", msg, exc)
            reply = "ERROR", one_line(exc)
        except Exception as exc:  # noqa: BLE001 (one request never ends the task)
            reply = "ERROR", one_line(self.unexpected(f"{msg} {data}", exc))
        else:
            if not getattr(data, "preview", False):
                about = [data] if isinstance(data, str) else _named(data)
                who = f"{queue.sender.name}: " if queue.sender.name else ""
                self.logger.info("%s%s %s: %s", who, msg, "/".join(map(str, about)), reply[1])
        queue.send_addr_msg(addr, *reply)

    def _answers_later(self, addr: bytes, msg: str, data: Any, owner: str) -> bool:
        """Begin a request whose reply follows later; return ``False`` for any other."""
        if msg == "SENT":
            self.desk.sent(addr)  # the reply follows after the verification of the file
            return True
        self.desk.cancel(addr)  # a tool that sends another request has abandoned its import
        match msg:
            case "IMPORT":  # when FileJuggler expects the file
                self.do_import(addr, data, owner)
            case "REBUILD" if data[1:] == (None,):  # when the database has noted all pages
                self._begin_rewriting(addr, data[0], sorted(self.db.get_all_packages()))
            case "RETRY" | "RETRYREASON" if not data.preview:  # likewise
                self._retry(addr, data)
            case "CURE":  # when all failures have been looked through
                self._begin_cures(addr, preview=data)
            case _:
                return False
        return True

    # Adding ---------------------------------------------------------------------------------

    def do_addpkg(self, add: AddPackage) -> str:
        """Register a package, or change its data: NEWPKG, SKIPPKG or UPDPKG."""
        _not_both(add.skip, add.unskip, "skip and unskip")
        _check_skip(add.skip)
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
        _check_skip(add.skip)
        _not_both(add.yank, add.unyank, "yank and unyank")
        package = canonical(add.package)
        if not is_version(add.version):
            raise Refused("BADVER", f"{add.version!r} is not a version (PEP 440)")
        if not self.db.test_package(package):
            raise Refused("NOPKG")
        names = self._names(package, [add.package, *add.aliases])
        is_new = self.db.add_new_package_version(package, add.version, add.released, add.skip)
        version = known_spelling(add.version, self.db.get_known_versions(package))
        if is_new:
            done = "NEWVER"
        else:
            done = "SKIPVER" if add.skip else "YANKVER" if add.yank else "UPDVER"
            if add.skip or add.unskip:
                self.db.skip_package_version(package, version, add.skip)
            if add.unskip:
                self.db.hold_builds(package, version, False)
        if add.yank:
            self.db.yank_version(package, version, add.yank_reason)
        if add.unyank:
            self.db.unyank_version(package, version)
        if add.priority:
            urgency = "" if add.priority == "normal" else add.priority
            self.db.set_urgency(package, version, urgency)
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

    # Removing -------------------------------------------------------------------------------

    def do_rempkg(self, remove: RemovePackage) -> str:
        """Remove a package (DELPKG), or only its builds (DELPKGBLD), or skip it (SKIPPKG)."""
        package = canonical(remove.package)
        _check_skip(remove.skip)
        if remove.builds or not remove.skip:
            self._check_not_paused()
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
        self._delete_builds(DeletePackage(package))
        self.db.add_rewrite(package, "BOTH")
        for version in data["releases"]:
            self.db.delete_build(package, version)
        self._delete_files(DeletePackage(package))
        self.db.hold_builds(package, None, False)
        self._rewrite_now(package)
        return "DELPKGBLD"

    def _check_not_paused(self) -> None:
        """Refuse a removal while the farm is paused: the site would still show the files."""
        if self.paused:
            raise Refused("PAUSED", "the farm and its site are paused: resume it first")

    def _delete_package(self, package: str) -> None:
        if not self.db.test_package(package):
            raise Refused("NOPKG")
        self.db.unwatch_package(package)  # otherwise its next release would bring it back
        self._delete_builds(DeletePackage(package))
        # After a crash, the next master removes the pages because of this note.
        self.db.add_rewrite(package, "BOTH")
        self.db.delete_package(package)
        self._delete_files(DeletePackage(package))

    def _delete_builds(self, deletion: Deletion) -> None:
        self.ports.call("deletions", deletion, DRIVER_TIMEOUT)

    def _delete_files(self, deletion: Deletion) -> None:
        self.ports.call("web", deletion, WEB_TIMEOUT)

    def do_remver(self, remove: RemoveVersion) -> str:
        """Remove a version (DELVER) or its builds (DELVERBLD), yank it (YANKVER), or SKIPVER."""
        package = canonical(remove.package)
        _check_skip(remove.skip)
        version = known_spelling(remove.version, self.db.get_known_versions(package))
        if remove.builds or not (remove.skip or remove.yank):
            self._check_not_paused()
        if not (remove.builds or remove.skip or remove.yank):
            if not self.db.test_package_version(package, version):
                raise Refused("NOVER" if self.db.test_package(package) else "NOPKG")
            self._delete_version(package, version, self.db.delete_version)
            self._rewrite(package)
            return "DELVER"
        self._release(self._project(package), version)
        if remove.yank:
            self.db.yank_version(package, version, remove.yank_reason)
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
        self._delete_builds(DeleteVersion(package, version))
        self.db.add_rewrite(package, "BOTH")
        delete(package, version)
        self._delete_files(DeleteVersion(package, version))

    def _project(self, package: str) -> ProjectData:
        """Return the data of *package*. Raises ``Refused`` if it is unknown or deleted."""
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
        """Rebuild pages: REBUILD, when the database has noted the request."""
        match what:
            case ("HOME",):
                self.ports.push("stats", RefreshHome())
            case ("SEARCH",):
                for request in (WriteSearch(), WriteRoot()):
                    self.ports.call("web", request, WEB_TIMEOUT)
            case ("PROJECT" | "BOTH" as part, str() as package):
                if not self.db.test_package(canonical(package)):
                    raise Refused("NOPKG")
                self._rewrite(canonical(package), part)
        return "REBUILD"

    def _rewrite(self, package: str, part: Part = "BOTH") -> None:
        """Have the pages of *package* written within a minute; wait until that is noted."""
        self.ports.call("web", RewritePages(part, package), WEB_TIMEOUT)

    def _rewrite_now(self, package: str) -> None:
        """Have the pages of *package* written without delay: they still show the removal."""
        self.db.add_rewrite(package, "BOTH")
        self.ports.call("web", PagesNoted("URGENT", package), WEB_TIMEOUT)

    def do_retry(self, retry: RetryFailed) -> str:
        """Count the failed builds that would be repeated."""
        return str(self.db.count_failed(retry.since, retry.label))

    def do_retryreason(self, retry: RetryReason) -> str:
        """Count the failures that would be repeated."""
        return str(self.db.count_reason(retry.reason, retry.subject, retry.since))

    def _retry(self, addr: bytes, retry: RetryFailed | RetryReason) -> None:
        """Have failed builds repeated; reply with their number when their pages are noted."""
        self._check_can_rewrite()
        if isinstance(retry, RetryFailed):
            packages = self.db.retry_failed(retry.since, retry.label)
            about = f"of {retry.label}" if retry.label else "of all slaves"
        else:
            packages = self.db.retry_reason(retry.reason, retry.subject, retry.since)
            about = f"for {retry.reason} {retry.subject or ''}".rstrip()
        self.logger.info("RETRY: %d failed builds %s since %s", len(packages), about, retry.since)
        self._begin_rewriting(addr, "PROJECT", sorted(set(packages)), str(len(packages)))

    def do_retryversion(self, job: Job) -> str:
        """Have a version built again for which it has failed: the number of its failed builds."""
        data = self._project(canonical(job.package))
        version = known_spelling(job.version, data["releases"])
        if skip := self._release(data, version)["skip"] or data["skip"]:
            raise Refused("SKIPPED", f"{data['name']} {version} is not to be built: {skip}")
        count = self.db.retry_version(data["name"], version)
        self._rewrite(data["name"], "PROJECT")
        return str(count)

    def _check_can_rewrite(self) -> None:
        if len(self._rewritings) >= MAX_REWRITING:
            raise Refused("REBUILD", "all pages are being rebuilt for other tools: try again later")

    def _begin_rewriting(
        self, addr: bytes, part: Part, packages: Sequence[str], reply: str = "REBUILD"
    ) -> None:
        self._check_can_rewrite()
        self._rewritings.append(_Rewriting(addr, part, iter(packages), reply))
        if len(self._rewritings) == 1:
            self._rewrite_some()

    def _rewrite_some(self) -> None:
        """Request the next pages; their answers request further ones."""
        while self._rewritings:
            current = self._rewritings[0]
            some = list(islice(current.packages, WINDOW))
            current.in_flight = len(some)
            for package in some:
                request = RewritePages(current.part, package)
                self.ports.ask("web", request, partial(self._rewritten, current), WEB_TIMEOUT)
            if some:
                return
            self._rewritings.popleft()
            self._tools.send_addr_msg(current.addr, "DONE", current.reply)

    def _rewritten(self, asked: _Rewriting, result: Result[Any]) -> None:
        asked.in_flight -= 1
        if not self._rewritings or asked is not self._rewritings[0]:
            return  # the request has failed already
        if result.error is not None:
            self._rewritings.popleft()
            self._failed(asked.addr, "REBUILD", result.error)
        elif asked.in_flight:
            return
        self._rewrite_some()

    # Recipes and cures ----------------------------------------------------------------------

    def do_recipes(self, after: str) -> list[StoredRecipe]:
        """Return the first recipes of projects after a package."""
        return self.db.get_recipes(after)

    def do_setrecipe(self, data: SetRecipe) -> str:
        """Store a recipe of a package: the number of failures that it may cure."""
        package, recipe = canonical(data.package), data.recipe
        if faults := recipe.faults:
            raise Refused("RECIPE", "; ".join(faults))
        if not self.db.test_package(package):
            raise Refused("NOPKG")
        attempts = [
            NewAttempt(failure.build_id, 1, (), recipe)
            for failure in self._standing(package)
            if data.retry and recipe != PLAIN and cures.may_cure(recipe, failure)
        ]
        if not data.preview:
            self.db.set_recipe(package, recipe)
            for begin in range(0, len(attempts), PART):
                self.db.retry_builds(attempts[begin : begin + PART])
            self._rewrite(package, "PROJECT")
        return str(len(attempts))

    def _standing(self, package: str) -> Iterator[StandingFailure]:
        """Yield the failures of *package* that stand, those included that are tried again later."""
        after = package, 0
        while found := self.db.get_standing(after, package, planned=True):
            yield from found
            after = package, found[-1].build_id

    def _begin_cures(self, addr: bytes, *, preview: bool) -> None:
        """Look through all failures for those that slaves could cure now."""
        if not preview:
            self._check_can_rewrite()
        names = sorted(self.db.get_all_packages())
        ends = iter([*names[RANGE - 1 :: RANGE], LAST])
        asked = _Cures(addr, preview, ends, self._places())
        self._next_cures(asked)

    def _places(self) -> dict[Target, cures.Place]:
        return {
            Target(each.platform, each.abi): cures.Place(
                "", False, frozenset(each.features), each.memory, release=each.release
            )
            for each in self._abilities()
        }

    def _abilities(self) -> list[Ability]:
        return self.ports.call("fleet", ListAbilities(), DRIVER_TIMEOUT)

    def _next_cures(self, asked: _Cures) -> None:
        """Ask for the next failures; reply if there are no more."""
        if asked.after[1] in (0, _END):
            asked.last = next(asked.ends, "")
        if asked.last:
            then = partial(self._got_standing, asked)
            self.db.ask(then, "get_standing", asked.after, asked.last, False, PART)
        elif asked.preview:
            self._tools.send_addr_msg(asked.addr, "DONE", str(asked.count))
        else:
            self.logger.info("CURE: %s", counted(asked.count, "failed build"))
            try:
                packages = sorted(asked.packages)
                self._begin_rewriting(asked.addr, "PROJECT", packages, str(asked.count))
            except Refused as exc:
                self._tools.send_addr_msg(asked.addr, "ERROR", one_line(exc))

    def _got_standing(self, asked: _Cures, result: Result[list[StandingFailure]]) -> None:
        if result.error is not None:
            self._failed(asked.addr, "CURE", result.error)
            return
        found = result.value
        is_end = len(found) < PART
        asked.after = (asked.last, _END) if is_end else (found[-1].package, found[-1].build_id)
        attempts = asked.attempts(found)
        asked.count += len(attempts)
        if asked.preview or not attempts:
            self._next_cures(asked)
        else:
            self.db.ask(partial(self._cured, asked), "retry_builds", attempts)

    def _cured(self, asked: _Cures, result: Result[list[str]]) -> None:
        if result.error is not None:
            self._failed(asked.addr, "CURE", result.error)
            return
        asked.packages.update(result.value)
        self._next_cures(asked)

    # Questions ------------------------------------------------------------------------------

    def do_why(self, asked: AskWhy) -> WhyAnswer:
        """Say for each version, or one, and each target why there is no wheel."""
        data = self._project(canonical(asked.package))
        versions = list(data["releases"])
        if asked.version:
            versions = [known_spelling(asked.version, versions)]
            self._release(data, versions[0])
        chosen = versions[:MAX_VERSIONS]
        data["releases"] = {version: data["releases"][version] for version in chosen}
        targets = [Target(*row[:2]) for row in self.db.get_targets() if not row.skip]
        places = places_of(self.db.get_places(data["name"], chosen), targets)
        release = next((each.release for each in self._abilities() if each.release), "")
        return WhyAnswer(why(data, targets, places, release), len(versions) - len(chosen))

    def _failed(self, addr: bytes, msg: str, error: Exception) -> None:
        """Reply that the request *msg*, whose answer is late, could not be carried out."""
        self.logger.error("could not do %s: %s", msg, error)
        self._tools.send_addr_msg(addr, "ERROR", one_line(error))

    # Files ----------------------------------------------------------------------------------

    def do_import(self, addr: bytes, build: BuildState, owner: str = "") -> None:
        """Begin the import of a build, if it is allowed. The reply SEND follows later.

        A deletion, or a removal of builds in progress, forbids it; a skip or a yank does not
        (docs/decisions/0028).
        """
        data = self._project(canonical(build.package))
        if self.db.builds_held(data["name"]):
            raise Refused("SKIPPKG")
        # A wheel's name has the normal form of the version, the index may have another.
        build.version = known_spelling(build.version, data["releases"])
        self._release(data, build.version)
        if self.db.builds_held(data["name"], build.version):
            raise Refused("SKIPVER")
        check(build, list(self.db.get_build_queue(1)), self.db.get_build_abis())
        self.desk.begin(addr, build, owner)

    # Upstream -------------------------------------------------------------------------------

    def do_watch(self, name: str) -> str:
        """Have CloudGazer follow the project *name*: WATCH. Refuse it if it follows nothing."""
        if self.config.source == "none":
            raise Refused(
                "WATCH",
                f"nothing would follow {canonical(name)}: this master follows no upstream index;"
                " start piw-master with --source watch, then repeat this",
            )
        self.db.watch_package(canonical(name))
        return "WATCH"

    def do_unwatch(self, name: str) -> str:
        """Stop following the project *name*: UNWATCH. Raises ``Refused`` if it is not watched."""
        if not self.db.unwatch_package(canonical(name)):
            raise Refused("NOPKG")
        return "UNWATCH"


def _named(data: Sequence[Any]) -> Sequence[Any]:
    """Return what a request is about: its first two fields, a recipe in words."""
    return ["; ".join(each.words) if isinstance(each, Recipe) else each for each in data[:2]]


def _check_skip(reason: str) -> None:
    if reason in _RESERVED:
        raise Refused(
            "SKIP", f"{reason!r} is a reason that only the master gives: word it otherwise"
        )


def _not_both(one: object, other: object, what: str) -> None:
    if one and other:
        raise Refused("BOTH", f"{what} exclude each other")
