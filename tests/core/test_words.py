"""Numbers for people."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from piwheels.core.words import duration_text, ordinal, size_text, time_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_499, "999.5 kB"),
        (999_600, "1.0 MB"),
        (2 * 10**9, "2.0 GB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0:00:00"), (7.9, "0:00:07"), (65, "0:01:05"), (31 * 3600 + 595, "31:09:55")],
)
def test_durations(seconds, text):
    assert duration_text(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "first"), (3, "third"), (10, "tenth"), (11, "11th"), (12, "12th"), (13, "13th"),
        (21, "21st"), (102, "102nd"), (1003, "1,003rd"), (1111, "1,111th"),
    ],
)  # fmt: skip
def test_places(number, text):
    assert ordinal(number) == text


def test_times():
    utc = datetime(2026, 11, 29, 18, 35, 59, tzinfo=UTC)
    assert time_text(utc) == "2026-11-29 18:35 UTC"
    assert time_text(utc.astimezone(timezone(timedelta(hours=2)))) == "2026-11-29 18:35 UTC"
