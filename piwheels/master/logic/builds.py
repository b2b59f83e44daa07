"""The builds of the slaves: from the assignment of a version to the end of the intake. Pure.

Usually one slave has a version. It may be two if a slave returns with a build after its version
was handed out again: both build it, the first valid build is stored, and the other one is
abandoned. A failure counts only if no other slave has the version.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.codec import NoData
from piwheels.core.debian.contents import release_of
from piwheels.core.recipes import PLAIN
from piwheels.core.states import BuildState, Pending, Phase, Retry, TransferState
from piwheels.core.words import duration_text
from piwheels.master.logic import cures
from piwheels.master.logic.build_queue import Queue, failure_of, serving
from piwheels.master.logic.console_events import outcome_of, skipped_outcome
from piwheels.master.logic.effects import (
    AskPending,
    Assignment,
    DropFile,
    GrantLease,
    LogBuild,
    Publish,
    PublishEnd,
    ReleaseLease,
    Reply,
    ReportPause,
    ReportRow,
    SaveQuarantines,
    SlaveEffect,
    TakeBack,
    Warn,
)
from piwheels.master.logic.fitness import Fitness, builder_of
from piwheels.master.logic.grants import Grants
from piwheels.master.logic.intake import Intake, Step
from piwheels.master.logic.quotas import Quotas
from piwheels.master.logic.sessions import Sessions
from piwheels.master.logic.slave_state import (
    answer,
    assignment_of,
    carries_out,
    is_building,
    memory_of,
    move,
    recipe_features,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from piwheels.core.protocols import Built
    from piwheels.core.states import Instant, SlaveState
    from piwheels.core.targets import Target
    from piwheels.master.logic.effects import IntakeEffect

#: The longest time that a build may take.
MAX_DURATION: Final = timedelta(days=7)


class Builds(Sessions):
    """The slaves with their builds, the intakes, and the versions to hand out."""

    def __init__(self, chance: Callable[[], float]) -> None:
        super().__init__()
        self.intakes: dict[int, Intake] = {}
        self.queue = Queue()
        self.grants = Grants()
        self.fitness = Fitness(chance)
        self.quotas = Quotas()

    # Slaves ---------------------------------------------------------------------------------

    def _assign(self, slave: SlaveState, job: tuple[str, str], instant: Instant) -> None:
        slave.build = BuildState(
            slave.slave_id, *job, slave.native_abi, status=False, duration=timedelta(0), output="",
            label=slave.label, owner=slave.owner, platform=slave.target.platform,
        )  # fmt: skip
        slave.build_began, slave.doubtful = instant, False
        if (row := self.queue.taken(assignment_of(slave))) is not None:
            slave.build.recipe, slave.build.attempt = row.recipe, row.attempt
            if not carries_out(slave, row.recipe):  # another version's (Fleet._can)
                tried = *row.attempt.tried, cures.PLAINLY
                slave.build.recipe, slave.build.attempt = PLAIN, row.attempt._replace(tried=tried)
        self.queue.start(assignment_of(slave))
        self.fitness.tries(slave, instant.now)
        self.grants.add(assignment_of(slave), slave.owner, instant.now)

    def _reply(
        self, slave: SlaveState, instant: Instant, msg: str, data: Any = NoData
    ) -> list[SlaveEffect]:
        answer(slave, msg, data, instant)
        effects: list[SlaveEffect] = [Reply(slave.address, msg, data)]
        if msg not in ("ACK", "CONT"):
            # Consoles know the target by the last HELLO: they get the version only.
            about = data[:2] if msg == "BUILD" else data
            effects.append(Publish(slave.slave_id, instant.at, msg, about))
        return effects

    def _end(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        return [Reply(slave.address, "DIE"), *self._remove(slave, "KILL", instant)]

    def _remove(self, slave: SlaveState, cause: str, instant: Instant) -> list[SlaveEffect]:
        self._leave(slave)
        del self.by_number[slave.slave_id]
        assignment = None if slave.build is None else assignment_of(slave)
        effects = [
            *self._drop_build(slave, instant),
            Publish(slave.slave_id, instant.at, "DIE"),
        ]
        move(slave, Phase.GONE, cause, instant)
        # The next slave may have its version, unless an operator has skipped the build, or it may
        # have been built: then only the database knows.
        free = assignment is not None and assignment not in self.queue.active and not slave.doubtful
        if assignment is not None and free and "SKIP" not in slave.commands:
            self.queue.put_back(assignment, instant.now)
        return effects

    def _drop_build(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """End the build of *slave*. One that is being stored continues without its slave."""
        if slave.build is None:
            return []
        assignment, intake = assignment_of(slave), self.intakes.get(slave.slave_id)
        outcome = skipped_outcome(slave, instant) if "SKIP" in slave.commands else None
        slave.build = slave.build_began = slave.transfer = None
        if intake is not None and not intake.needs_slave:
            return []
        dropped = self._drop_intake(slave)
        if "SKIP" in slave.commands and "KILL" not in slave.commands:
            self.queue.postpone(
                assignment, instant.now
            )  # otherwise the slave would receive it again at once
        else:
            self.queue.abandon(assignment)
        return [*dropped, PublishEnd(slave.slave_id, outcome), *self._release(assignment, instant)]

    def _drop_intake(self, slave: SlaveState) -> list[SlaveEffect]:
        """Drop the intake of *slave* if it has one; no file is expected any more."""
        intake = self.intakes.pop(slave.slave_id, None)
        waits = intake is not None and intake.step in (Step.EXPECT, Step.SENT)
        return [DropFile(slave.slave_id)] if waits else []

    def _is_building(self, slave: SlaveState) -> bool:
        return is_building(slave) and slave.slave_id not in self.intakes

    # Intakes --------------------------------------------------------------------------------

    def _begin_intake(self, slave: SlaveState, built: Built, instant: Instant) -> list[SlaveEffect]:
        build = slave.build
        assert build is not None  # noqa: S101
        build.status, build.output, build.fetches = built.status, built.output, built.fetches
        build.duration = min(max(built.duration, timedelta(0)), MAX_DURATION)
        build.files = {state.filename: state for state in built.files}
        if len(build.files) != len(built.files):
            build.files.clear()  # two files with one name: neither can be published
        for trial in built.trials:
            if (state := build.files.get(trial.filename)) is not None:
                state.trial = trial
        move(slave, Phase.CHECKING, slave.request, instant)
        builder = builder_of(slave)
        intake = Intake(
            build, slave.native_platform, slave.label, Step.TURN, builder=builder,
            trusted=self.fitness.trusts(builder), lost=built.lost, ending=built.ending,
        )  # fmt: skip
        self.intakes[slave.slave_id] = intake
        self.quotas.ended(slave.owner)
        effects = [] if built.status else self._judge_failure(intake, instant)
        return [*effects, *self._begin_next(intake.assignment, instant)]

    def _judge_failure(self, intake: Intake, instant: Instant) -> list[SlaveEffect]:
        """Decide whether a failed build counts, what follows it, and about its slave."""
        builder, build = intake.builder, intake.build
        slave = self.by_number.get(build.slave_id)
        if builder is None or intake.judged:
            return []
        intake.judged = True
        first = self.queue.failure(intake.assignment)
        intake.confirms = first is not None
        diagnosis = intake.diagnose()
        why = self.fitness.failed(
            builder, intake.assignment, diagnosis, instant.now,
            confirms=first is not None and first.owner != builder.owner,
        )  # fmt: skip
        build.counts = not why
        effects: list[SlaveEffect] = []
        if build.counts and intake.confirms:
            pass  # its cures were tried after the first failure
        elif why and diagnosis.about.fault != "farm":  # its slave is in quarantine
            again = build.attempt._replace(number=max(build.attempt.number, 1))
            build.retry = Retry(again, build.recipe, timedelta(0))
        else:
            place = self._place(slave, intake, instant.now)
            build.retry = cures.next_attempt(diagnosis, build.recipe, build.attempt, place)
            build.counts |= build.retry is None and diagnosis.reason != "recipe-refused"
        if not build.counts:
            row = cures.farm_row(build.retry.attempt) if build.retry else []
            follows = _what_follows(build.retry, row) if build.retry else ""
            text = f"failed to build {intake}, which does not count: {why}{follows}"
            effects.append(Warn(build.slave_id, intake.label, text))
            if len(cures.farm_row(build.attempt)) < cures.SLAVES <= len(row):
                effects.append(ReportRow(build, row))
        return [*effects, *self._report_fitness(intake, instant)]

    def _place(self, slave: SlaveState | None, intake: Intake, now: float) -> cures.Place:
        """Return where the build of *intake* failed, and what slaves for its target can do."""
        place = self.place_of(intake.build.target)._replace(label=intake.label)
        if slave is None:
            return place._replace(release="")
        return place._replace(
            others=self._has_others(slave, now),
            timeout=slave.build_timeout,
            release=release_of(slave.os_version),
        )

    def place_of(self, target: Target) -> cures.Place:
        """Return what slaves for *target* can do. The release of Debian is that of one of them."""
        able = [
            each
            for each in self.slaves.values()
            if any(offer.target == target for offer in each.offers)
        ]
        return cures.Place(
            "",
            False,
            frozenset().union(*map(recipe_features, able)),
            max(map(memory_of, able), default=0),
            release=next(filter(None, (release_of(each.os_version) for each in able)), ""),
        )

    def _report_fitness(self, intake: Intake | None, instant: Instant) -> list[SlaveEffect]:
        """Report who gets no work now, or gets work again, and what does not count any more.

        *intake* is of the slave that has caused it, which may have left.
        """
        effects: list[SlaveEffect] = []
        for builder, text in self.fitness.news(instant.now):
            reports = [
                ReportPause(slave, self.fitness.reason(slave, instant.now), "")
                for slave in self.slaves.values()
                if builder in (builder_of(slave), builder_of(slave).all_of_owner)
            ]
            if reports:
                reports[0] = reports[0]._replace(text=text)
            elif intake is not None:
                effects.append(Warn(intake.build.slave_id, intake.label, text))
            effects += reports
        if builds := self.fitness.taken_back:
            self.fitness.taken_back = []
            effects.append(TakeBack(builds))
        if self.fitness.changed:
            self.fitness.changed = False
            effects.append(SaveQuarantines(self.fitness.quarantines()))
        return effects

    def _judge_stored(self, intake: Intake, instant: Instant) -> list[SlaveEffect]:
        build, builder = intake.build, intake.builder
        if builder is None or build.build_id is None:
            return []
        if build.status:
            self.fitness.succeeded(builder, intake.assignment, instant.now)
            return self._report_fitness(intake, instant)
        if not build.counts:
            return []
        claims = intake.is_certain
        self.fitness.stored(builder, intake.assignment, build.build_id, claims=claims)
        return self._report_fitness(intake, instant)

    def _has_others(self, slave: SlaveState, now: float) -> bool:
        """Return whether slaves of other machines build for the target of *slave*."""
        own = builder_of(slave)[:2]
        return any(
            builder_of(other)[:2] != own
            and not self.fitness.reason(other, now)
            and slave.target in {offer.target for offer in other.offers}
            for other in self.slaves.values()
        )

    def _begin_next(self, assignment: Assignment, instant: Instant) -> list[SlaveEffect]:
        """Begin the first intake of *assignment* that waits its turn, unless one is under way."""
        same = [intake for intake in self.intakes.values() if intake.assignment == assignment]
        if not same or any(intake.step is not Step.TURN for intake in same):
            return []
        intake, slave = same[0], self.by_number[same[0].build.slave_id]
        if slave.doubtful:
            intake.step = Step.PENDING
            return [AskPending(slave.slave_id, *assignment[:2])]
        return self._proceed(intake, intake.begin(), instant)

    def answered(
        self, slave_id: int, result: Any, error: Exception | None, instant: Instant
    ) -> list[SlaveEffect]:
        """Continue the intake of *slave_id* with the answer to its last request."""
        intake, slave = self.intakes.get(slave_id), self.by_number.get(slave_id)
        if intake is None or intake.step is Step.PENDING:
            return self._answered_pending(slave, intake, result, error, instant)
        return self._proceed(intake, intake.answered(result, error), instant)

    def fault(self, slave_id: int, why: str, instant: Instant) -> list[SlaveEffect]:
        """End the intake of *slave_id*, in which an unexpected error has occurred: see ``Intake``.

        The build is stored as failed. If that fails, too, the version waits before it is built
        again, longer each time.
        """
        intake = self.intakes[slave_id]
        return self._proceed(intake, intake.fault(why), instant)

    def _answered_pending(
        self,
        slave: SlaveState | None,
        intake: Intake | None,
        result: Iterable[Pending],
        error: Exception | None,
        instant: Instant,
    ) -> list[SlaveEffect]:
        """Continue a build with which a slave returned, if it still has to be done."""
        if slave is None or slave.build is None or not slave.doubtful:
            return []
        if error is not None:  # if there is no intake, its beginning asks again
            asked = [] if intake is None else intake.not_answered(f"it may be built: {error}")
            return [] if intake is None else self._proceed(intake, asked, instant)
        *job, target = assignment_of(slave)
        rows = serving(target)
        found = next((e for e in result if [*e[:2]] == job and e.target in rows), None)
        if found is None:
            return self._lose(slave, "it has been built, or is not to be built", instant)
        failure = failure_of(found, instant)
        if failure and not failure.may_confirm(slave.owner, instant.now):
            return self._lose(slave, "another slave has to confirm its failure", instant)
        slave.doubtful = False
        slave.build.recipe, slave.build.attempt = found.recipe, found.attempt
        return [] if intake is None else self._proceed(intake, intake.begin(), instant)

    def _proceed(
        self, intake: Intake, decided: Iterable[IntakeEffect], instant: Instant
    ) -> list[SlaveEffect]:
        """Return the effects that an intake *decided*, and the reply to its slave if it is due."""
        slave_id = intake.build.slave_id
        slave = self.by_number.get(slave_id)
        effects = with_history(slave, decided)
        failed = intake.step is Step.LOG and not intake.build.status
        if failed:
            effects = [*self._judge_failure(intake, instant), *effects]
        if failed and self.queue.active[intake.assignment] > 1:  # the other slave's build decides
            effects = [each for each in effects if not isinstance(each, LogBuild)]
            intake.step = Step.ENDED
        waits = slave is not None and slave.phase is Phase.CHECKING
        if intake.step is Step.ENDED:
            effects += self._end_intake(intake, slave, instant)
        if slave is None or not waits:
            return effects
        slave.heard = instant.now  # it was silent because it waited for the master
        if intake.step is not Step.VERIFY:
            slave.transfer = None
        if intake.step is Step.ENDED:
            return [*effects, *self._done(slave, instant)]
        return [*effects, *self._request_file(slave, intake, instant)]

    def _request_file(
        self, slave: SlaveState, intake: Intake, instant: Instant
    ) -> list[SlaveEffect]:
        if intake.step is not Step.SENT:
            return []
        slave.transfer = TransferState(slave.slave_id, intake.current)
        return self._reply(slave, instant, "SEND", intake.current.filename)

    def _end_intake(
        self, intake: Intake, slave: SlaveState | None, instant: Instant
    ) -> list[SlaveEffect]:
        assignment, stored = intake.assignment, intake.build.build_id is not None
        del self.intakes[intake.build.slave_id]
        judged = self._judge_stored(intake, instant) if stored else []
        if slave is not None and slave.build is intake.build:
            slave.build = slave.build_began = None
        effects: list[SlaveEffect] = [
            PublishEnd(intake.build.slave_id, outcome_of(intake, instant.at)),
            *judged,
        ]
        if not stored and self.queue.active[assignment] > 1:
            self.queue.abandon(assignment)
            return [*effects, *self._begin_next(assignment, instant)]
        self.queue.finish(assignment, instant.now, logged=stored)
        if not stored:
            return [*effects, ReleaseLease(assignment)]
        if assignment in self.queue.active:
            for other in list(self.by_number.values()):
                if other.build is not None and assignment_of(other) == assignment:
                    why = f"slave {intake.build.slave_id} has built it"
                    effects += self._lose(other, why, instant)
        return effects

    def _lose(self, slave: SlaveState, why: str, instant: Instant) -> list[SlaveEffect]:
        """Have *slave* abandon a build that is needed no longer."""
        assignment = assignment_of(slave)
        dropped = self._drop_intake(slave)
        slave.build = slave.build_began = None
        self.queue.abandon(assignment)
        effects = [
            *dropped,
            warning(slave, f"loses {assignment[0]} {assignment[1]}: {why}"),
            PublishEnd(slave.slave_id, None),
            *self._release(assignment, instant),
        ]
        return [*effects, *self._done(slave, instant)] if slave.phase is Phase.CHECKING else effects

    def _done(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        if "KILL" in slave.commands:
            return self._end(slave, instant)
        return self._reply(slave, instant, "DONE")

    def _release(self, assignment: Assignment, instant: Instant) -> list[SlaveEffect]:
        """End the lease of *assignment* if no slave has it any more."""
        if assignment in self.queue.active:
            return self._begin_next(assignment, instant)
        return [ReleaseLease(assignment)]

    # For the tests --------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all invariants hold."""
        ids = [slave.slave_id for slave in self.slaves.values()]
        assert sorted(set(ids)) == list(self.by_number), "a replay would miss slaves"  # noqa: S101
        with_builds = [slave for slave in self.slaves.values() if slave.build is not None]
        has = {id(slave.build) for slave in with_builds}
        alone = [one.assignment for one in self.intakes.values() if id(one.build) not in has]
        assignments = Counter([*map(assignment_of, with_builds), *alone])
        assert self.queue.active == assignments  # noqa: S101
        for slave_id, intake in self.intakes.items():
            assert intake.step is not Step.ENDED  # noqa: S101
            assert not intake.needs_slave or slave_id in ids, "its slave has gone"  # noqa: S101
            assert intake.build.slave_id == slave_id  # noqa: S101
        under_way = [one.assignment for one in self.intakes.values() if one.step is not Step.TURN]
        assert len(under_way) == len(set(under_way)), "a build could be stored twice"  # noqa: S101
        waiting = {one.assignment for one in self.intakes.values() if one.step is Step.TURN}
        assert waiting <= set(under_way), "a build waits for nothing"  # noqa: S101
        for slave in self.slaves.values():
            _validate_slave(slave, self.intakes.get(slave.slave_id))


def _validate_slave(slave: SlaveState, intake: Intake | None) -> None:
    phase, waits = slave.phase, slave.phase is Phase.CHECKING
    assert bool(slave.replies) == waits, "a request has no reply"  # noqa: S101
    if phase in (Phase.CHECKING, Phase.SENDING):
        assert intake is not None  # noqa: S101
        assert slave.build is intake.build  # noqa: S101
    assert (slave.build is None) == (slave.build_began is None)  # noqa: S101
    if phase in (Phase.IDLE, Phase.ASLEEP):
        assert slave.build is None, phase  # noqa: S101
    verifies = waits and intake is not None and intake.step is Step.VERIFY
    assert (slave.transfer is not None) == (phase is Phase.SENDING or verifies)  # noqa: S101
    assert slave.history, "a slave has no history"  # noqa: S101
    assert slave.history[-1].state == phase  # noqa: S101


def _what_follows(retry: Retry, slaves: Sequence[str]) -> str:
    """Return what follows a failure that does not count, as the end of a sentence.

    *slaves* are those on which the last attempts failed because of the farm.
    """
    many = len(slaves) >= cures.SLAVES
    row = f" ({len(slaves)} slaves in a row: {', '.join(slaves)})" if many else ""
    if retry.delay is None:
        return f"{row}; it waits for an operator (piw-rebuild version)"
    when = duration_text(retry.delay)
    return f"{row}; it is built again {f'in {when}' if retry.delay else 'now'}"


def lease_of(slave: SlaveState) -> GrantLease:
    """Return the effect that stores the lease of the build of *slave*."""
    return GrantLease(assignment_of(slave), slave.label, slave.busy_timeout, slave.owner)


def warning(slave: SlaveState, text: str) -> Warn:
    """Return the effect that logs *text* about *slave*, with its last transitions."""
    return Warn(slave.slave_id, slave.label, text, tuple(slave.history))


def with_history(slave: SlaveState | None, effects: Iterable[IntakeEffect]) -> list[SlaveEffect]:
    """Return *effects* whose warnings have the last transitions of *slave*."""
    history = () if slave is None else tuple(slave.history)
    return [
        effect._replace(history=history) if isinstance(effect, Warn) else effect
        for effect in effects
    ]
