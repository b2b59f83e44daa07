"""The effect of the master's replies on a slave: a function for each reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.console.model.history import insert
from piwheels.console.model.slave import Moment, PastBuild, State
from piwheels.console.text import clean, short_span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from piwheels.console.model.slave import Slave


class When(NamedTuple):
    """The time of a reply: the master's timestamp, console time, whether it is repeated."""

    at: datetime
    here: datetime
    past: bool = False


def apply(slave: Slave, message: str, data: Any, when: When, *, skipped: bool) -> PastBuild | None:
    """Apply the master's reply *message* to *slave*; return the build that it ended, if any.

    A repeated reply that is older than the last one changes nothing. *skipped*: an operator asked
    for the end of this build.
    """
    if when.past and when.at < slave.reported_at:
        return None
    slave.reported_at = when.at
    return _REPLIES[message](slave, data, when, skipped)


def _build(slave: Slave, data: Any, when: When, _: bool) -> PastBuild | None:
    job = (data[0], data[1])
    same = slave.job == job and slave.job_since is not None
    if same and slave.job_since is not None and (when.past or when.at == slave.job_since):
        slave.job_since = min(when.at, slave.job_since)
        slave.build_began = min(when.here, slave.build_began or when.here)
        _go(slave, State.BUILD, When(slave.job_since, slave.build_began), "")
        return None
    ended = _close(slave, when, "", None)
    slave.job, slave.job_since, slave.files, slave.file = job, when.at, 0, ""
    slave.build_began = when.here
    _enter(slave, State.BUILD, when)
    _note(slave, when.at, "BUILD", f"{clean(job[0])} {clean(job[1])}")
    return ended


def _sleep(slave: Slave, paused: Any, when: When, _: bool) -> PastBuild | None:
    ended = _close(slave, when, "", None)
    state = State.PAUSE if paused else State.SLEEP
    _go(slave, state, when, "paused" if paused else "no jobs")
    return ended


def _send(slave: Slave, name: Any, when: When, _: bool) -> PastBuild | None:
    if slave.file != name:
        slave.file = name
        slave.files += 1
        _note(slave, when.at, "SEND", clean(name))
    if slave.reported is not State.SEND:
        _enter(slave, State.SEND, when)
    return None


def _done(slave: Slave, _data: Any, when: When, skipped: bool) -> PastBuild | None:
    sent = slave.reported is State.SEND
    result = "" if when.past else "ok" if sent else "skipped" if skipped else "failed"
    built = None
    if not when.past and slave.build_began is not None:
        built = (slave.state_began if sent else when.here) - slave.build_began
    ended = _close(slave, when, result, built)
    _go(slave, State.CLEAN, when, "" if slave.outcome is None else in_words(slave.outcome))
    return ended


def _die(slave: Slave, _data: Any, when: When, _: bool) -> PastBuild | None:
    ended = _close(slave, when, "", None)
    _go(slave, State.DEAD, when, "")
    return ended


_REPLIES: Final[Mapping[str, Callable[[Slave, Any, When, bool], PastBuild | None]]] = {
    "BUILD": _build,
    "SLEEP": _sleep,
    "SEND": _send,
    "DONE": _done,
    "DIE": _die,
}
_WORDS: Final = {State.CLEAN: "DONE", State.DEAD: "DIE"}


def _go(slave: Slave, state: State, when: When, what: str) -> None:
    if slave.reported is not state:
        _enter(slave, state, when)
        _note(slave, when.at, _WORDS.get(state, state.value), what)


def _enter(slave: Slave, state: State, when: When) -> None:
    slave.reported, slave.since, slave.state_began = state, when.at, when.here


def _note(slave: Slave, at: datetime, word: str, what: str) -> None:
    slave.timeline.append(Moment(at, word, what))


def _close(slave: Slave, when: When, result: str, took: timedelta | None) -> PastBuild | None:
    """End the slave's build; return it unless the master has reported its end before."""
    job, since, files = slave.job, slave.job_since, slave.files
    began = slave.build_began
    slave.job, slave.job_since, slave.files, slave.file = None, None, 0, ""
    slave.build_began = None
    if job is None or since is None:
        return None
    package, version, last = clean(job[0]), clean(job[1]), slave.outcome
    if last and last[:2] == (package, version) and began and last.seen > began:
        return None
    head = package, version, slave.abi, result, took, files
    ended = PastBuild(*head, when.at, slave.id, slave.label, when.here)
    insert(slave.builds, ended)
    slave.outcome = ended
    return ended


def in_words(build: PastBuild) -> str:
    """Describe a build that has ended: ``lxml 6.0.2 ok, 3 files, 3m12``."""
    files = f"{build.files} file{'s' * (build.files != 1)}" if build.files else ""
    took = "" if build.duration is None else short_span(build.duration)
    head = f"{build.package} {build.version} {build.outcome or 'ended'}"
    return ", ".join(filter(None, (head, files, took, build.about, build.recipe, build.follows)))
