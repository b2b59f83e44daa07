"""What a slave is told, and what that makes of it: a function for each message of its master."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model.ordered import insert
from piwheels.console.model.slave import Moment, PastBuild, State
from piwheels.console.text import clean, short_span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from piwheels.console.model.slave import Slave


def tell(
    slave: Slave, message: str, data: Any, at: datetime, *, past: bool, skipped: bool
) -> PastBuild | None:
    """Have *slave* told *message* at *at* (master's clock); return the build that this ended.

    What tells of the *past*, and we know better, changes nothing. *skipped* tells that whoever
    ends this build was asked to.
    """
    if past and at < slave.told_at:
        return None
    slave.told_at = at
    return _MESSAGES[message](slave, data, at, past, skipped)


def _build(slave: Slave, data: Any, at: datetime, past: bool, _: bool) -> PastBuild | None:
    job = (data[0], data[1])
    same = slave.job == job and slave.job_since is not None
    if same and slave.job_since is not None and (past or at == slave.job_since):
        slave.job_since = min(at, slave.job_since)
        _go(slave, State.BUILD, slave.job_since, "")
        return None
    ended = _close(slave, at, "", None)
    slave.job, slave.job_since, slave.files, slave.file = job, at, 0, ""
    slave.told, slave.since = State.BUILD, at
    _note(slave, at, "BUILD", f"{clean(job[0])} {clean(job[1])}")
    return ended


def _sleep(slave: Slave, paused: Any, at: datetime, _past: bool, _: bool) -> PastBuild | None:
    ended = _close(slave, at, "", None)
    state = State.PAUSE if paused else State.SLEEP
    _go(slave, state, at, "paused" if paused else "no jobs")
    return ended


def _send(slave: Slave, name: Any, at: datetime, _past: bool, _: bool) -> PastBuild | None:
    if slave.file != name:
        slave.file = name
        slave.files += 1
        _note(slave, at, "SEND", clean(name))
    if slave.told is not State.SEND:
        slave.told, slave.since = State.SEND, at
    return None


def _done(slave: Slave, _data: Any, at: datetime, past: bool, skipped: bool) -> PastBuild | None:
    sent = slave.told is State.SEND
    result = "" if past else "ok" if sent else "skipped" if skipped else "failed"
    built = None
    if not past and slave.job_since is not None:
        built = (slave.since if sent else at) - slave.job_since
    ended = _close(slave, at, result, built)
    _go(slave, State.CLEAN, at, "" if slave.outcome is None else in_words(slave.outcome))
    return ended


def _die(slave: Slave, _data: Any, at: datetime, _past: bool, _: bool) -> PastBuild | None:
    ended = _close(slave, at, "", None)
    _go(slave, State.DEAD, at, "")
    return ended


_MESSAGES: Final[Mapping[str, Callable[[Slave, Any, datetime, bool, bool], PastBuild | None]]] = {
    "BUILD": _build,
    "SLEEP": _sleep,
    "SEND": _send,
    "DONE": _done,
    "DIE": _die,
}
_WORDS: Final = {State.CLEAN: "DONE", State.DEAD: "DIE"}


def _go(slave: Slave, state: State, at: datetime, what: str) -> None:
    if slave.told is not state:
        slave.told, slave.since = state, at
        _note(slave, at, _WORDS.get(state, state.value), what)


def _note(slave: Slave, at: datetime, word: str, what: str) -> None:
    slave.timeline.append(Moment(at, word, what))


def _close(slave: Slave, at: datetime, result: str, took: timedelta | None) -> PastBuild | None:
    """End the slave's build; return it unless the master has told of its end before."""
    job, since, files = slave.job, slave.job_since, slave.files
    slave.job, slave.job_since, slave.files, slave.file = None, None, 0, ""
    if job is None or since is None:
        return None
    package, version, told = clean(job[0]), clean(job[1]), slave.outcome
    if told is not None and told[:2] == (package, version) and told.ended > since:
        return None
    ended = PastBuild(package, version, slave.abi, result, took, files, at, slave.id, slave.label)
    insert(slave.builds, ended)
    slave.outcome = ended
    return ended


def in_words(build: PastBuild) -> str:
    """Return a build that has ended in words: ``lxml 6.0.2 ok, 3 files, 3m12``."""
    files = f"{build.files} file{'s' * (build.files != 1)}" if build.files else ""
    took = "" if build.duration is None else short_span(build.duration)
    head = f"{build.package} {build.version} {build.result or 'ended'}"
    return ", ".join(filter(None, (head, files, took)))
