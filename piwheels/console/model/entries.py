"""Journal entries about slaves, their builds and their alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from piwheels.console.model import health
from piwheels.console.model.journal import Entry, Kind
from piwheels.console.text import clean, short_span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from piwheels.console.model.slave import Alert, PastBuild, Slave

_KINDS: Final = {"failed": Kind.FAIL, "put off": Kind.PUT_OFF}


def joined(slave: Slave, now: datetime) -> Entry:
    """Return the entry for a new slave."""
    about = now, Kind.JOIN, slave.id, slave.label
    return Entry(*about, f"joined for {slave.abi}", clean(slave.info.board_revision))


def left(slave: Slave, now: datetime, *, builds: bool) -> Entry:
    """Return the entry for a slave that left, perhaps in a build or after a silence."""
    silence = now - slave.last_contact
    known = any(alert.reason == "expired" for alert in slave.alerts)
    detail = "its build is lost" if builds else ""
    if silence < slave.info.busy_timeout * 0.9:
        return Entry(now, Kind.LEFT, slave.id, slave.label, "left", detail)
    detail = "; ".join(filter(None, (f"no message for {short_span(silence)}", detail)))
    kind = Kind.LEFT if known else Kind.CRITICAL
    return Entry(now, kind, slave.id, slave.label, "expired", detail)


def ended(build: PastBuild, at: datetime) -> Entry:
    """Return the entry for a build that has ended."""
    took = "" if build.duration is None else short_span(build.duration)
    files = f"{build.files} file{'s' * (build.files != 1)}" if build.files else "no files"
    details = ", ".join(filter(None, (build.about, took, files, build.recipe, build.follows)))
    job = f"{build.package} {build.version} {build.abi}"
    return Entry(
        at, _KINDS.get(build.outcome, Kind.DONE), build.slave_id, build.label,
        job if build.outcome == "failed" else f"{job} {build.outcome}",
        f"{details}. {build.sentence}" if build.sentence else details,
    )  # fmt: skip


def alerts(
    slave: Slave, before: tuple[Alert, ...], elapsed: timedelta, now: datetime
) -> Iterator[Entry]:
    """Yield entries for alerts that are new, or more severe than *before*."""
    known = {alert.reason: alert.weight for alert in before}
    for alert in slave.alerts:
        if alert.weight > known.get(alert.reason, 0):
            kind = Kind.CRITICAL if alert.weight >= 3 else Kind.WARN
            detail = health.explain(slave, alert, elapsed)
            if alert.reason in ("no msg", "expired"):
                what = "silent" if alert.reason == "no msg" else "expired"
                detail = f"no message for {alert.value}; {detail}"
            else:
                what = str(alert)
            yield Entry(now, kind, slave.id, slave.label, what, detail)
