"""Numbers for people."""

from datetime import timedelta

import pytest

from piwheels.core.words import duration_text, size_text


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
