"""Webhooks: their bodies and signatures, and when each is sent. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from piwheels.core.diagnosis import Diagnosis
from piwheels.master.logic.failures import Failures

if TYPE_CHECKING:
    from datetime import datetime

    from piwheels.core.protocols import BuildOutcome

#: The seconds until a failed delivery is tried again, doubled up to an hour; the most attempts.
FIRST_PAUSE: Final = 10.0
MAX_ATTEMPTS: Final = 15
#: The most webhooks that wait for one address: the oldest are dropped.
MAX_WAITING: Final = 200
#: The share of the disk below which it is low, and above which it is no longer.
LOW, ENOUGH = 0.05, 0.07

#: How a delivery ended: the address took it, or it may later, or it never will.
Outcome = Literal["delivered", "retry", "refused"]


@dataclass(frozen=True)
class Webhook:
    """A report: its number *id* and its *body*, which stay the same in each attempt."""

    id: str
    event: str
    body: bytes


def webhook(id_: str, event: str, at: datetime, master: str, details: dict[str, Any]) -> Webhook:
    """Return the webhook of an *event* that happened *at* that time."""
    content = {"format": 1, "id": id_, "event": event, "at": at.isoformat(), "master": master}
    return Webhook(id_, event, json.dumps(content | {"details": details}).encode())


def failed_build(outcome: BuildOutcome) -> dict[str, Any]:
    """Return the details of a failed build."""
    found = Diagnosis(outcome.reason, outcome.subject, outcome.cause)
    return {
        "build_id": outcome.build_id,
        "package": outcome.package,
        "version": outcome.version,
        "abi": outcome.abi,
        "slave_id": outcome.slave_id,
        "slave": outcome.label,
        "seconds": outcome.duration.total_seconds(),
        "reason": found.about.code,
        "subject": found.subject,
        "cause": found.cause,
        "sentence": found.sentence,
        "recipe": outcome.recipe,
    }


def headers(sent: Webhook, secret: bytes, timestamp: int) -> dict[str, str]:
    """Return the headers of an attempt at *timestamp* (seconds since 1970), with its signature.

    The signature covers the timestamp, so that a recorded request is worthless later.
    """
    signed = str(timestamp).encode() + b"." + sent.body
    digest = hmac.new(secret, signed, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Piwheels-Event": sent.event,
        "X-Piwheels-Id": sent.id,
        "X-Piwheels-Timestamp": str(timestamp),
        "X-Piwheels-Signature": f"sha256={digest}",
    }


def outcome_of(status: int) -> Outcome:
    """Return how a delivery ended by the status of the answer. A redirect is not followed."""
    if 200 <= status < 300:
        return "delivered"
    return "retry" if status >= 500 or status in (408, 425, 429) else "refused"


@dataclass
class Outbox:
    """The webhooks that wait for one address. They are sent one at a time, in their order."""

    waiting: deque[Webhook] = field(default_factory=deque)
    _sending: bool = False
    _due: float = 0.0
    _failures: Failures = field(default_factory=lambda: Failures(FIRST_PAUSE))

    def add(self, sent: Webhook) -> bool:
        """Add a webhook; return whether there was room, otherwise the oldest one is dropped."""
        self.waiting.append(sent)
        if len(self.waiting) <= MAX_WAITING:
            return True
        del self.waiting[1 if self._sending else 0]
        return False

    def next(self, now: float) -> Webhook | None:
        """Return the webhook to send now, if one is due: it counts as being sent."""
        if self._sending or not self.waiting or now < self._due:
            return None
        self._sending = True
        return self.waiting[0]

    def ended(self, outcome: Outcome, now: float) -> tuple[Outcome, float]:
        """Record the end of an attempt; return its outcome, and the seconds until the next one.

        After :data:`MAX_ATTEMPTS` the outcome is ``refused``.
        """
        self._sending = False
        pause = 0.0
        if outcome == "retry":
            pause, _ = self._failures.failed()
            self._due = now + pause
            if self._failures.count < MAX_ATTEMPTS:
                return "retry", pause
            outcome = "refused"
        self.waiting.popleft()
        self._failures.recovered()
        return outcome, pause


@dataclass
class DiskWatch:
    """Whether the disk is low: once below :data:`LOW`, until above :data:`ENOUGH`."""

    low: bool = False

    def take(self, size: int, free: int) -> bool:
        """Take the disk's size and free space in bytes; return whether it has just become low."""
        share = free / size if size else 1.0
        before, self.low = self.low, share < (ENOUGH if self.low else LOW)
        return self.low and not before
