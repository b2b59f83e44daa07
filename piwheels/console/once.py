"""``piw-console --once``: the state of the farm, as a table, or as JSON for other programs.

The JSON has these keys, to which others may be added. Times are in ISO 8601, durations in seconds,
sizes in bytes; unknown values are null.

- ``format``: 1; ``at``: this machine's time
- ``link``: ``state`` (LIVE, PAUSED, QUIET, MISMATCH, REPLAY), ``level`` (of the protocol),
  ``source``
- ``master``: ``started``, ``label``, ``os_name``, ``os_version``, ``board_revision``,
  ``board_serial``, ``paused``, ``pause`` (who pauses the farm, and why)
- ``figures``: the master's, as its STATS message has them (``packages_built``, ``disk_free`` ...)
- ``counts``: how many slaves are in each state; ``alerts``: how many of them have one
- ``slaves``: of each ``id``, ``label``, ``host`` and ``lane`` (of a lane: level 1), ``abi``,
  ``platform``, ``state`` (IDLE, SLEEP, BUILD, SEND, CLEAN, PAUSE,
  SILNT, EXPIR, DEAD), ``since``, ``elapsed``, ``package``, ``version``, ``files``, ``joined``,
  ``pause`` (who pauses it or the farm, and why: level 1), ``os_name``, ``os_version``,
  ``board_revision``, ``board_serial``, ``alerts`` (``reason``, ``value``, ``since``, ``weight``),
  ``ratio`` (of its build's time to that of its peers), ``eta``, ``stats`` (as its STATS message
  has them)
- ``queues`` (level 1): of each ``abi``, ``pending``, and the ``first`` of them
  (``package``, ``version``)
- ``targets`` (level 1): of each ``platform``, ``abi``, ``pending``, ``slaves`` (that offer to build
  for it), ``waits_since`` (it has had no slave), ``skip`` (why it is retired)
- ``builds`` (level 1): those that ended last: ``build_id``, ``slave_id``, ``label``, ``package``,
  ``version``, ``abi``, ``result`` (ok, failed, skipped), ``duration``, ``files``, ``ended``,
  ``again`` (whether a failure is to be confirmed), ``platform``, ``reason`` (the class of a
  failure), ``subject`` and ``cause``, ``counts`` (false: a failure of the farm), ``recipe`` (in
  words), ``retry_at``, ``about`` (class and subject in words), ``sentence`` (what to do)
"""

from __future__ import annotations

import json as json_module
import sys
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.data import plain
from piwheels.console.model.link import ATTACHED, LinkState
from piwheels.console.model.slave import PastBuild, State
from piwheels.console.text import clean, number
from piwheels.core.program.report import write_error
from piwheels.core.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from piwheels.console.model.slave import Slave
    from piwheels.console.session import Session

#: The pause between two looks at new events, in seconds, and the time for an attached master to
#: answer requests.
TURN: Final = 0.05
ANSWERS: Final = timedelta(seconds=2)
#: The widths of the table's columns.
_WIDTHS: Final = (6, 20, 7, 6, 30, 9)


def run(
    session: Session,
    out: TextIO,
    *,
    json: bool,
    timeout: timedelta,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Write the state of the farm to *out*; return 0, or 1 without a master within *timeout*."""
    session.start(clock())
    try:
        if not _attach(session, timeout, clock, sleep):
            lines = [f"no master has answered within {timeout.total_seconds():g} s"]
            lines += session.advice()[1:]  # the first says that it keeps trying
            if json:
                write_error(lines[0], 1)
            sys.stderr.write("".join(f"piw-console: {line}\n" for line in lines))
            return 1
        if json:
            json_module.dump(picture(session), out, indent=1, allow_nan=False)
            out.write("\n")
        else:
            out.writelines(f"{line.rstrip()}\n" for line in table(session))
        out.flush()
    finally:
        session.close()
    return 0


def _attach(
    session: Session,
    timeout: timedelta,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> bool:
    """Wait for the state of the farm; return whether it has come."""
    recording = session.recording
    if recording is not None:
        session.seek(recording.end)
        while session.pump(recording.end):
            pass
        session.tick(recording.end)
        return True
    begin, attached = clock(), None
    while (now := clock()) - begin < timeout:
        while session.pump(now):
            pass
        session.tick(now)
        if session.state in ATTACHED:
            attached = attached or now
            answered = session.queue and session.farm.stats and not session.awaits_answers
            if answered or session.level == 0 or now - attached >= ANSWERS:
                return True
        sleep(TURN)
    return attached is not None


# JSON -----------------------------------------------------------------------------------------


def picture(session: Session) -> dict[str, Any]:
    """Return the values that the module's docstring describes."""
    farm, info = session.farm, session.farm.info
    why = session.why_paused(None) if session.paused else ""
    paused = {"paused": session.paused, "pause": why or None}
    state = "REPLAY" if session.state is LinkState.FILE else session.state.value
    return {
        "format": 1,
        "at": plain(session.shown(session.now)),
        "link": {"state": state, "level": session.level, "source": session.source.name},
        "master": None if info is None else plain(info) | paused,
        "figures": plain(farm.stats[-1]) if farm.stats else None,
        "counts": {state.value: count for state, count in sorted(farm.counts().items())},
        "alerts": farm.alerting(),
        "slaves": [_slave(session, slave) for slave in _in_order(session)],
        "queues": plain(session.queue),
        "targets": plain(session.targets),
        "builds": [_build(PastBuild.of(one, one.ended), plain(one)) for one in session.recent],
    }


def _slave(session: Session, slave: Slave) -> dict[str, Any]:
    package, version = slave.job or (None, None)
    info = plain(slave.info)
    kept = ("os_name", "os_version", "board_revision", "board_serial")
    return {
        "id": slave.id,
        "label": slave.info.label,
        "host": slave.host or None,
        "lane": slave.lane if slave.host else None,
        "abi": slave.abi,
        "platform": info["native_platform"],
        "state": slave.state_at(session.now).value,
        "since": plain(slave.since),
        "elapsed": plain(session.farm.elapsed(slave)),
        "package": package,
        "version": version,
        "files": slave.files,
        "joined": plain(slave.joined),
        "pause": _why_paused(session, slave) or None,
        **{key: info[key] for key in kept},
        "alerts": [
            plain(alert._replace(since=session.shown(alert.since))) for alert in slave.alerts
        ],
        "ratio": slave.ratio,
        "eta": plain(slave.eta),
        "stats": plain(slave.stats[-1]) if slave.stats else None,
    }


def _build(build: PastBuild, known: dict[str, Any]) -> dict[str, Any]:
    return known | {"about": build.about or None, "sentence": build.sentence or None}


def _why_paused(session: Session, slave: Slave) -> str:
    paused = slave.state_at(session.now) is State.PAUSE
    return session.why_paused(slave.id) if paused else ""


# The table ------------------------------------------------------------------------------------


def table(session: Session) -> Iterator[str]:
    """Yield the lines of the table."""
    farm = session.farm
    label = clean(farm.info.label) if farm.info else session.source.name
    counts = farm.counts()
    states = [f"{counts[state]} {state.value}" for state in State if counts[state]]
    yield f"{label}: {session.link_text()}; {', '.join(states) or 'no slaves'}"
    if session.paused and (why := session.why_paused(None)):
        yield f"paused by {why}"
    if farm.stats:
        pending = farm.stats[-1].builds_pending
        each = ", ".join(f"{clean(abi)} {number(count)}" for abi, count in pending.items())
        yield f"queue: {number(sum(pending.values()))} ({each or 'nothing waits'})"
    yield _row("ID", "LABEL", "ABI", "STATE", "TASK", "TIME", "ALERTS")
    for slave in _in_order(session):
        task = " ".join(slave.job or ())
        if (why := _why_paused(session, slave)) != session.why_paused(None):
            task = f"by {why}"
        alerts = ", ".join(map(str, slave.alerts))
        state = slave.state_at(session.now).value
        time = duration_text(farm.elapsed(slave))
        yield _row(str(slave.id), slave.name, slave.abi, state, clean(task), time, alerts)


def _row(*cells: str) -> str:
    *narrow, last = cells
    padded = [cell.ljust(width) for cell, width in zip(narrow, _WIDTHS, strict=True)]
    return " ".join([*padded, last])


def _in_order(session: Session) -> list[Slave]:
    return sorted(session.farm.slaves.values(), key=lambda slave: slave.id)
