"""Which slaves are fit to build: those whose failures seem to be their own get no work. Pure.

A slave with a recognised fault is suspended for a while. A slave that fails what others build is in
quarantine: its failures do not count, and those that were stored are taken back. In both cases it
is tried again after a pause, longer each time, because nothing else shows whether it has been
repaired. A successful build, or an operator who resumes it, ends both.

A slave can have any identity. So each owner has a record, too, which counts if several identities
of the owner fail.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.database.rows import Quarantine
from piwheels.master.logic.quotas import name_of, quota_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Set

    from piwheels.core.diagnosis import Diagnosis
    from piwheels.core.states import SlaveState
    from piwheels.master.logic.effects import Assignment

#: The length of a slave's first suspension, and of the longest one, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 300.0, 3600.0
#: A slave that fails so many builds in a row, of so many packages, is put into quarantine if at
#: least half of the other slaves' recent builds have succeeded.
ROW, PACKAGES, OTHERS = 10, 5, 5
#: So is a slave if others have built so many of the versions that it failed in its last builds; or
#: so many of those that no slave could build, as its logs said.
LAST, DISPROVED, CLAIMS_DISPROVED = 20, 5, 2
#: An owner is in quarantine as a whole if so many of its slaves have failed.
SEVERAL: Final = 2
#: The share of the failures with a certain cause that get a second opinion all the same.
CHECKED: Final = 0.1
#: The most builders that are remembered; of each, the most builds, and versions that were put off.
MAX_RECORDS, MAX_BUILDS, MAX_TRIED = 10_000, 100, 1000
#: The most versions whose failures may be disproved.
MAX_FAILED: Final = 100_000


class Builder(NamedTuple):
    """A slave, by its identity (or label), which builds for an ABI. All of an owner: ``""``."""

    owner: str
    identity: str
    abi: str

    @property
    def all_of_owner(self) -> Builder:
        """All slaves of its owner."""
        return self._replace(identity="")


@dataclass(slots=True)
class _Build:
    """A stored build of a slave with an *identity*; *claims*: its log shows a certain cause."""

    identity: str
    assignment: Assignment
    build_id: int
    built: bool = False
    claims: bool = False
    disproved: bool = False


@dataclass(slots=True)
class _Record:
    """The failures of a builder since its last success, and its last builds."""

    failures: int = 0
    faults: int = 0
    packages: set[str] = field(default_factory=set)
    identities: set[str] = field(default_factory=set)
    #: The versions that were put off after it had tried them.
    tried: dict[Assignment, None] = field(default_factory=dict)
    suspensions: int = 0
    until: float = 0.0
    reason: str = ""
    quarantined: bool = False
    #: Whether it has a version, to show that it has been repaired.
    on_trial: bool = False
    #: Its last stored builds; whether its last builds have succeeded.
    builds: deque[_Build] = field(default_factory=lambda: deque(maxlen=MAX_BUILDS))
    results: deque[bool] = field(default_factory=lambda: deque(maxlen=OTHERS))

    @property
    def pause(self) -> float:
        return min(FIRST_PAUSE * 2.0 ** min(self.suspensions, 10), LONGEST_PAUSE)

    def suspend(self, reason: str, now: float) -> None:
        self.until = now + self.pause
        self.suspensions += 1
        self.reason, self.on_trial = reason, False

    def failed(self, assignment: Assignment, identity: str) -> None:
        self.results.append(False)
        self.failures += 1
        if len(self.packages) < PACKAGES:
            self.packages.add(assignment[0])
        if len(self.identities) < SEVERAL:
            self.identities.add(identity)

    def succeeded(self) -> _Record:
        """Return its record after a success."""
        self.results.append(True)
        return _Record(builds=self.builds, results=self.results)

    def disprove(self, assignment: Assignment) -> bool:
        """Record that another slave has built *assignment*; return whether that is too much."""
        for build in self.builds:
            build.disproved |= build.assignment == assignment and not build.built
        wrong = [build for build in islice(reversed(self.builds), LAST) if build.disproved]
        claims = [build for build in self.builds if build.disproved and build.claims]
        return len(wrong) >= DISPROVED or len(claims) >= CLAIMS_DISPROVED

    def take_back(self) -> list[int]:
        """Return, once, the stored failures that have to be taken back."""
        failures = [each.build_id for each in self.builds if not each.built]
        self.builds.clear()
        return failures


class Fitness:
    """The failures of each builder. *chance* returns a number from 0 to 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._records: dict[Builder, _Record] = {}
        #: Who has failed a version, and may be disproved.
        self._failed: dict[Assignment, set[Builder]] = {}
        #: The stored failures that do not count; whether the quarantines have to be stored; who
        #: gets no work any more, or gets work again.
        self.taken_back: list[int] = []
        self.changed = False
        self._news: list[Builder] = []

    # Builds ---------------------------------------------------------------------------------

    def failed(
        self,
        builder: Builder,
        assignment: Assignment,
        diagnosis: Diagnosis,
        now: float,
        *,
        confirms: bool = False,
    ) -> str:
        """Record a failed build; return why it does not count, or ``""`` if it does.

        A failure that *confirms* that of another owner does not speak against its slave. The slave
        may get no work afterwards.
        """
        records = [self._record(each) for each in _both(builder)]
        for record in records if not confirms else ():
            record.failed(assignment, builder.identity)
        why = self._judge(builder, records, diagnosis, now)
        if why:
            tried = records[0].tried
            tried[assignment] = None
            if len(tried) > MAX_TRIED:
                del tried[next(iter(tried))]
        return why

    def _judge(
        self, builder: Builder, records: list[_Record], diagnosis: Diagnosis, now: float
    ) -> str:
        own, about = records[0], diagnosis.about
        own.faults = own.faults + 1 if about.suspends else 0
        self._find_rows(builder, now)
        held = [record for record in records if record.quarantined]
        for each, record in zip(_both(builder), records, strict=True):
            if record.quarantined and record.on_trial:
                record.suspend(record.reason, now)
                self._news.append(each)
        if held:
            return held[0].reason
        if about.fault != "farm":
            return ""
        why = f"{about.title} ({diagnosis.sentence.rstrip('.')})"
        if own.faults >= about.suspends > 0:
            own.suspend(why, now)
            self._news.append(builder)
        return why

    def _find_rows(self, builder: Builder, now: float) -> None:
        """Put a slave, or its owner, into quarantine if too many builds in a row have failed."""
        for each, most in zip(_both(builder), (ROW, quota_of(builder.owner).row), strict=True):
            record = self._records[each]
            several = each is builder or len(record.identities) >= SEVERAL
            if record.quarantined or not several or record.failures < most:
                continue
            if len(record.packages) >= PACKAGES and self._others_build(each):
                why = f"its last {record.failures} builds failed, and those of other slaves did not"
                self._begin(each, f"{why} (compare their logs)", now)

    def stored(
        self, builder: Builder, assignment: Assignment, build_id: int, *, claims: bool
    ) -> None:
        """Record that a failure has been stored; *claims*: its log shows a certain cause."""
        for each in _both(builder):
            self._record(each).builds.append(
                _Build(builder.identity, assignment, build_id, claims=claims)
            )
            self._failed.setdefault(assignment, set()).add(each)
        if len(self._failed) > MAX_FAILED:
            del self._failed[next(iter(self._failed))]
        for each in _both(builder):
            if self._records[each].quarantined:
                self.taken_back += self._records[each].take_back()

    def succeeded(self, builder: Builder, assignment: Assignment, now: float) -> None:
        """Record a successful build: earlier failures of its slave were those of the packages.

        Who has failed the version may be put into quarantine.
        """
        for each in _both(builder):
            record = self._record(each)
            if record.quarantined:
                self.changed = True
                self._news.append(each)
            record.builds.append(_Build(builder.identity, assignment, 0, built=True))
            self._records[each] = record.succeeded()
        for each in self._failed.pop(assignment, set()):
            failed = self._records.get(each) if _is_other(builder, each) else None
            if failed is not None and failed.disprove(assignment) and not failed.quarantined:
                slaves = {build.identity for build in failed.builds if build.disproved}
                if len(slaves) >= (1 if each.identity else SEVERAL):
                    self._begin(each, "others have built what it failed (compare the logs)", now)

    def trusts(self, builder: Builder) -> bool:
        """Return whether a certain cause in the log of its next failure makes that final."""
        records = (self._records.get(each) for each in _both(builder))
        in_row = any(record is not None and record.failures >= ROW for record in records)
        return not in_row and self._chance() >= CHECKED

    def _others_build(self, builder: Builder) -> bool:
        """Return whether most of the last builds of other slaves for the ABI have succeeded."""
        slaves = ((one, record) for one, record in self._records.items() if one.identity)
        others = [
            built for one, record in slaves if _is_other(one, builder) for built in record.results
        ]
        return len(others) >= OTHERS and 2 * sum(others) >= len(others)

    # Suspensions and quarantines ------------------------------------------------------------

    def _begin(self, builder: Builder, reason: str, now: float) -> None:
        record = self._records[builder]
        record.quarantined = self.changed = True
        record.suspend(reason if builder.identity else f"{name_of(builder.owner)}: {reason}", now)
        self.taken_back += record.take_back()
        self._news.append(builder)

    def news(self, now: float) -> list[tuple[Builder, str]]:
        """Return, once, who gets no work any more, or gets work again, with a sentence about it."""
        news, self._news = self._news, []
        return [(each, self._sentence(self._records.get(each), now)) for each in news]

    def _sentence(self, record: _Record | None, now: float) -> str:
        if record is None or record.until <= now:
            return "gets work again, and its failures count: it has built a version"
        state = "is suspended"
        if record.quarantined:
            state = "is in quarantine, and its failures do not count"
        return (
            f"{state}: {record.reason}; when it is repaired, resume it in piw-console (w), or it is"
            f" tried again in {(record.until - now) / 60:.0f} minutes"
        )

    def tries(self, slave: SlaveState, now: float) -> None:
        """Record that *slave* gets a version: in quarantine, it is the only one for a while."""
        for record in self._existing(slave):
            if record.quarantined:
                record.until, record.on_trial = now + record.pause, True

    def resume(self, slave: SlaveState) -> None:
        """Forget the failures of *slave*: an operator says that it is repaired."""
        builders = [builder_of(slave, offer.abi) for offer in slave.offers]
        for each in dict.fromkeys(chain.from_iterable(map(_both, builders))):
            record = self._records.pop(each, None)
            self.changed |= record is not None and record.quarantined

    def suspension(self, slave: SlaveState, now: float, abi: str = "") -> tuple[str, float] | None:
        """Return why *slave* gets no work for *abi*, and for how many more seconds.

        ``None``: it does.
        """
        held = (record for record in self._existing(slave, abi) if record.until > now)
        left = [(record.reason, record.until - now) for record in held]
        return max(left, key=lambda each: each[1], default=None)

    def reason(self, slave: SlaveState, now: float) -> str:
        """Return why *slave* is suspended or in quarantine; ``""``: it is not."""
        held = (
            f"in quarantine: {record.reason}" if record.quarantined else record.reason
            for record in self._existing(slave)
            if record.quarantined or record.until > now
        )
        return next(held, "")

    def tried(self, slave: SlaveState, abi: str = "") -> Set[Assignment]:
        """Return the versions that another slave should try, because *slave* has done so."""
        record = self._records.get(builder_of(slave, abi))
        return frozenset() if record is None else record.tried.keys()

    def quarantines(self) -> list[Quarantine]:
        """Return all quarantines."""
        records = self._records.items()
        return [Quarantine(*key, record.reason) for key, record in records if record.quarantined]

    def restore(self, quarantines: Iterable[Quarantine], now: float) -> None:
        """Continue the *quarantines* of an earlier master."""
        for *builder, reason in quarantines:
            record = self._record(Builder(*builder))
            record.quarantined = True
            record.suspend(reason, now)

    # Records --------------------------------------------------------------------------------

    def _existing(self, slave: SlaveState, abi: str = "") -> Iterator[_Record]:
        found = (self._records.get(each) for each in _both(builder_of(slave, abi)))
        return (record for record in found if record is not None)

    def _record(self, builder: Builder) -> _Record:
        """Return the record of *builder*, now the last one.

        If there are too many, forget the first one that is not in quarantine; but never the last
        two, which may be those of a slave and its owner.
        """
        record = self._records.pop(builder, None) or _Record()
        self._records[builder] = record
        if len(self._records) > MAX_RECORDS:
            older = list(islice(self._records, len(self._records) - 2))
            free = (each for each in older if not self._records[each].quarantined)
            del self._records[next(free, older[0])]
        return record


def builder_of(slave: SlaveState, abi: str = "") -> Builder:
    """Return *slave* as a builder for *abi* (``""``: the one for which it builds at present)."""
    return Builder(slave.owner, slave.identity or slave.label, abi or slave.native_abi)


def _both(builder: Builder) -> tuple[Builder, Builder]:
    """Return *builder*, and all slaves of its owner."""
    return builder, builder.all_of_owner


def _is_other(one: Builder, builder: Builder) -> bool:
    """Return whether the slave *one* is not *builder*, or not of that owner; for the same ABI."""
    is_other = one != builder if builder.identity else one.owner != builder.owner
    return is_other and one.abi == builder.abi


def shortage(free: int, reserve: int, *, closed: bool) -> bool:
    """Return whether the master's disk has too little room to hand out work.

    It does below its *reserve*. Once work has stopped (*closed*), it needs an eighth more.
    """
    return free < reserve + (reserve // 8 if closed else 0)
