"""Webhooks: signatures, retries and the bounded queue; when the disk is low."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from piwheels.master.logic.webhooks import (
    MAX_ATTEMPTS,
    MAX_WAITING,
    DiskWatch,
    Outbox,
    headers,
    outcome_of,
    webhook,
)

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def made(number=1):
    return webhook(str(number), "disk-low", WHEN, "farm", {"free": 1})


def test_the_signature_covers_timestamp_and_body():
    sent = headers(made(), b"secret", 12)
    signed = b"12." + made().body
    expected = hmac.new(b"secret", signed, hashlib.sha256).hexdigest()
    assert sent["X-Piwheels-Signature"] == f"sha256={expected}"
    assert sent["X-Piwheels-Timestamp"] == "12"
    assert headers(made(), b"secret", 13)["X-Piwheels-Signature"] != sent["X-Piwheels-Signature"]
    assert json.loads(made().body) == {
        "format": 1, "id": "1", "event": "disk-low", "at": "2026-01-01T00:00:00+00:00",
        "master": "farm", "details": {"free": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"), (204, "delivered"), (302, "refused"), (404, "refused"), (408, "retry"),
        (429, "retry"), (500, "retry"),
    ],
)  # fmt: skip
def test_an_answer_decides_whether_to_try_again(status, outcome):
    assert outcome_of(status) == outcome


def test_one_is_sent_at_a_time_with_growing_pauses():
    box, now, pauses = Outbox(), 0.0, []
    for number in range(2):
        box.add(made(number))
    for _ in range(MAX_ATTEMPTS - 1):
        assert box.next(now).id == "0"
        assert box.next(now) is None
        outcome, pause = box.ended("retry", now)
        assert outcome == "retry"
        assert box.next(now + pause - 1) is None
        pauses.append(pause)
        now += pause
    assert pauses[:4] == [10, 20, 40, 80]
    assert max(pauses) == 3600
    box.next(now)
    assert box.ended("retry", now)[0] == "refused"
    now += 3600
    assert box.next(now).id == "1"
    assert box.ended("delivered", now) == ("delivered", 0.0)
    assert box.next(now) is None


def test_the_oldest_that_is_not_being_sent_is_dropped():
    box = Outbox()
    box.add(made(0))
    assert box.next(0.0).id == "0"
    room = [box.add(made(number)) for number in range(1, MAX_WAITING + 5)]
    assert room.count(False) == 5
    assert len(box.waiting) == MAX_WAITING
    assert [each.id for each in box.waiting][:2] == ["0", "6"]


def test_a_disk_is_reported_once_until_there_is_space_again():
    disk = DiskWatch()
    shares = [50, 4, 3, 6, 4, 8, 4]
    assert [disk.take(100, free) for free in shares] == [False, True, *[False] * 4, True]
    assert not DiskWatch().take(0, 0)
