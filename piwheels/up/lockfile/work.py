"""Drives a farm through a lock file: what it asks pip, imports from upstream, and builds, and when.

A version that has a wheel in the farm needs nothing more. With ``--from-source missing``, the
others get their upstream wheels; those without one are built from source. With ``all``, pip looks
at the source of each version first; what its build requires is built before it, in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidSdistFilename, parse_sdist_filename

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import BadMessage, BadWheel, Refused, one_line
from piwheels.core.host.supervision import remove_tree
from piwheels.up import site
from piwheels.up.lockfile.lookups import Question, batch
from piwheels.up.lockfile.order import cycle, key, next_step, to_break
from piwheels.up.lockfile.writing import Locked
from piwheels.up.registry import IMPORTED
from piwheels.up.summary import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from piwheels.core.clock import Clock
    from piwheels.core.database import Database
    from piwheels.core.states import Fetch
    from piwheels.up.child import Child
    from piwheels.up.lockfile.entries import Entry
    from piwheels.up.lockfile.lookups import Lookups
    from piwheels.up.lockfile.order import Key
    from piwheels.up.registry import Registrar
    from piwheels.up.tracker import Tracker

#: The problem of a version without a wheel.
NOT_BUILT: Final = "not built"
#: Seconds until all see a new page: the site's server repeats its responses for one.
SETTLED: Final = 2.0


@dataclass(slots=True)
class Item:
    """A version: *needs* are what its build requires (``None``: unknown); *cycle* is a sentence.

    It is *published* since that time.
    """

    target: Target
    hashes: frozenset[str] = frozenset()
    needs: frozenset[Key] | None = None
    cycle: str = ""
    is_started: bool = False
    published: float | None = None

    @property
    def question(self) -> Question:
        """The question for pip."""
        return Question(self.target.package, self.target.version, sorted(self.hashes))


class _Queue:
    """Items that wait for pip; *ask* starts the program that answers for the first of them."""

    def __init__(self, ask: Callable[[Sequence[Question]], Child]) -> None:
        self._ask = ask
        self._waiting: list[Item] = []
        self._asked: dict[int, Item] = {}
        self._child: Child | None = None

    def add(self, item: Item) -> None:
        """Ask for *item*, too."""
        self._waiting.append(item)

    def answers(self) -> Iterator[tuple[Item, Any]]:
        """Yield the new answers, without waiting: a sentence if the program has ended without."""
        if self._child is None:
            if not self._waiting:
                return
            questions = [item.question for item in self._waiting]
            count = batch(questions)
            self._asked = dict(enumerate(self._waiting[:count]))
            del self._waiting[:count]
            self._child = self._ask(questions[:count])
        child = self._child
        for number, answer in child.answers():
            yield self._asked.pop(number), answer
        if child.ended:
            for item in self._asked.values():
                yield item, {"why": child.last_words or "pip has ended early"}
            self._asked, self._child = {}, None

    def close(self) -> None:
        """End the program."""
        if self._child is not None:
            self._child.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked."""
        return self._child is None and not self._waiting


class LockWork:
    """The work for *entries*, with a target each in *tracker*; *abi* is the one of the farm.

    *from_source* is ``missing`` or ``all``; *say* tells people; *folder* has the site. Call
    :meth:`close` at the end.
    """

    def __init__(  # noqa: PLR0917
        self,
        entries: Sequence[Entry],
        from_source: str,
        abi: str,
        tracker: Tracker,
        lookups: Lookups,
        folder: Path,
        say: Callable[[str], None],
        *,
        clock: Clock = SYSTEM,
    ) -> None:
        self._is_all = from_source == "all"
        self._abi, self._tracker, self._site = abi, tracker, folder
        self._say, self._clock = say, clock
        self._wheels, self._sources = _Queue(lookups.wheels), _Queue(lookups.sources)
        self._items: dict[Key, Item] = {}
        self._new: list[Item] = []
        for entry, target in zip(entries, tracker.targets, strict=True):
            if not target.problem:
                self._add(Item(target, entry.hashes))
        self._entries = frozenset(self._items)

    def close(self) -> None:
        """End what runs."""
        self._wheels.close()
        self._sources.close()

    def _add(self, item: Item) -> None:
        self._items[key(*item.target.key)] = item
        self._new.append(item)

    # Answers of pip -------------------------------------------------------------------------

    def poll(self, registrar: Registrar) -> None:
        """Take the new answers of pip, without waiting for others."""
        for item, path in self._wheels.answers():
            if isinstance(path, str) and path and self._take(item, Path(path), registrar):
                continue
            if item.cycle:
                self._give_up(item, f"{item.cycle}, and no upstream wheel of it can be taken")
            elif item.hashes:
                self._sources.add(item)
            else:
                item.needs = frozenset()
        for item, answer in self._sources.answers():
            if "why" in answer:
                self._give_up(item, answer["why"])
            else:
                needs = answer["needs"] if self._is_all else ()
                item.needs = frozenset(self._need(item, *each) for each in needs)

    def _take(self, item: Item, path: Path, registrar: Registrar) -> bool:
        """Import the upstream wheel at *path*; return whether the farm accepts it."""
        target = item.target
        try:
            registrar.import_wheel(target, path, self._abi)
        except (Refused, BadMessage, BadWheel, OSError) as exc:
            self._say(f"the farm refused the upstream wheel {path.name}: {one_line(exc)}")
            target.is_imported = True  # its version is skipped until it is registered
            return False
        finally:
            remove_tree(str(path.parent))
        item.is_started = target.is_imported = True
        self._say(f"took the upstream wheel {path.name}{item.cycle and f', because {item.cycle}'}")
        return True

    def _need(self, item: Item, name: str, version: str) -> Key:
        """Return the key of what the build of *item* requires; add it if it is new."""
        need = key(name, version)
        if need not in self._items:
            target = Target(f"{name}=={version}", name, version, needed_by=item.target.package)
            self._tracker.targets.append(target)
            self._say(f"{item.target.package} needs {name} {version} for its build")
            self._add(Item(target))
        return need

    def _give_up(self, item: Item, why: str) -> None:
        item.target.problem, item.target.detail = NOT_BUILT, why
        self._say(f"{item.target.spec}: {NOT_BUILT}: {why}")

    # Steps ----------------------------------------------------------------------------------

    def advance(self, db: Database, registrar: Registrar) -> bool:
        """Do what is possible now, after each update of the tracker; return whether all is done."""
        while self._new:  # the database may fail in between
            self._enter(self._new[0], db)
            del self._new[0]
        self._note_published()
        waiting = self._waiting()
        now = self._clock.monotonic()
        ready = {
            each for each, item in self._items.items()
            if item.published is not None and now - item.published >= SETTLED
        }  # fmt: skip
        failed = {each for each, item in self._items.items() if self._has_failed(item)}
        step = next_step(waiting, ready, failed)
        for each in step.start:
            item = self._items[each]
            item.is_started = True
            registrar.register(item.target)
            item.target.is_imported = False
            problem = item.target.detail
            self._say(f"{each} was refused: {problem}" if problem else f"registered {each}")
        for each, need in step.blocked.items():
            self._give_up(self._items[each], f"it needs {need} for its build, which is not built")
        if not (self._wheels.is_empty and self._sources.is_empty):
            return False
        self._break_cycle()
        return not self._new and not self._waiting() and self._wheels.is_empty

    def _enter(self, item: Item, db: Database) -> None:
        """Begin with a new item: it may have a wheel of an earlier run."""
        target = item.target
        target.is_imported = db.get_version_skip(*target.key) == IMPORTED
        if self._tracker.wheel(target) and not (self._is_all and target.is_imported):
            item.is_started = True
        elif self._is_all:
            self._sources.add(item)
        else:
            self._wheels.add(item)

    def _note_published(self) -> None:
        for item in self._items.values():
            if item.is_started and item.published is None:
                wheel = self._tracker.wheel(item.target)
                if wheel and site.lists(self._site, item.target.package, {wheel}):
                    item.published = self._clock.monotonic()

    def _has_failed(self, item: Item) -> bool:
        target = item.target
        return bool(target.problem) or (
            item.is_started and self._tracker.has_ended(target) and not self._tracker.wheel(target)
        )

    def _waiting(self) -> dict[Key, frozenset[Key]]:
        """Return the build dependencies of what waits for them."""
        return {
            each: item.needs
            for each, item in self._items.items()
            if item.needs is not None and not item.is_started and not item.target.problem
        }

    def _break_cycle(self) -> None:
        """If versions need each other, take an upstream wheel of one of them."""
        if not (found := cycle(self._waiting())):
            return
        item = self._items[to_break(found, self._entries)]
        item.needs = None
        item.cycle = f"{', '.join(map(str, sorted(found)))} need each other for their builds"
        self._wheels.add(item)

    # The end --------------------------------------------------------------------------------

    def verify(self, db: Database) -> None:
        """Compare what the farm has with the hashes of the lock file; note where they differ."""
        entries = [item for each, item in self._items.items() if each in self._entries]
        builds = db.get_builds([item.target.key for item in entries])
        fetches = db.get_fetches([build.build_id for build in builds])
        for item in entries:
            wheel = self._tracker.wheel(item.target)
            wanted = {each for each in item.hashes if each.startswith("sha256:")}
            if not wheel or not wanted:
                continue
            found = {site.hashes(self._site, item.target.package).get(wheel, "")}
            for build in builds:
                if wheel in build.filenames:
                    found |= sources(fetches.get(build.build_id, ()), item.target.package)
            if wanted.isdisjoint(f"sha256:{each}" for each in found):
                self._give_up(
                    item, f"no file that {wheel} is or comes from has a hash of the lock file"
                )

    def locked(self) -> list[Locked]:
        """Return the wheels of the entries."""
        found = []
        for each in sorted(self._entries):
            target = self._items[each].target
            wheel = self._tracker.wheel(target)
            digest = site.hashes(self._site, target.package).get(wheel)
            if digest and not target.problem:
                found.append(Locked(target.package, target.version, wheel, digest))
        return found


def sources(fetches: Iterable[Fetch], package: str) -> set[str]:
    """Return the hashes of the sources of *package* among *fetches*."""
    found = set()
    for fetch in fetches:
        try:
            name, _ = parse_sdist_filename(unquote(urlsplit(fetch.url).path.rpartition("/")[2]))
        except InvalidSdistFilename:
            continue
        if name == package and fetch.sha256:
            found.add(fetch.sha256)
    return found
