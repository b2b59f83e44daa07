"""The schedule of requests for watched projects, and which failures are logged."""

from itertools import pairwise

import pytest

from piwheels.core.database.rows import WatchedRow
from piwheels.master.logic.failures import Failures
from piwheels.master.logic.polling import PollSchedule


def names(polls):
    return [poll.row.package for poll in polls]


@pytest.fixture
def polls():
    made = PollSchedule(interval=300, limit=3)
    made.sync([WatchedRow(f"p{number}") for number in range(30)], now=1000)
    return made


def test_a_few_projects_at_a_time_in_turn(polls):
    polled = []
    for moment in range(1000, 1010):
        due = polls.take_due(moment, 5)
        assert len(due) == 3
        assert polls.take_due(moment, 5) == []
        assert polls.in_flight == 3
        for poll in due:
            polls.done(poll, moment)
        polled += names(due)
    assert len(set(polled)) == 30


def test_requests_are_spread_over_the_interval(polls):
    dues = []
    for now in range(1000, 3000, 10):
        for poll in polls.take_due(now, 3):
            polls.done(poll, now)
            dues.append((poll.row.package, now))
    for name in {name for name, _ in dues}:
        times = [when for polled, when in dues if polled == name][1:]
        assert all(290 <= after - before <= 310 for before, after in pairwise(times))
    second = [when for _, when in dues if 1300 <= when < 1600]
    assert len(second) >= 25
    assert len({when // 30 for when in second}) >= 7


def test_a_restart_keeps_the_places_in_the_interval():
    rows = [WatchedRow(f"p{number}", found=True) for number in range(20)]
    one, two = PollSchedule(300, 3), PollSchedule(300, 3)
    one.sync(rows, now=1000)
    two.sync(rows, now=1100)
    assert one.take_due(1000, 3) == []
    ones = {poll.row.package: poll.due for poll in one._projects.values()}
    twos = {poll.row.package: poll.due for poll in two._projects.values()}
    assert all((ones[name] - twos[name]) % 300 == pytest.approx(0) for name in ones)


def test_a_project_that_is_no_longer_watched_is_not_polled(polls):
    [poll] = polls.take_due(1000, 1)
    polls.sync([WatchedRow("p29"), WatchedRow("new")], now=1001)
    polls.done(poll, 1001)
    assert sorted(names(polls.take_due(1001, 9))) == ["new", "p29"]
    assert len(polls) == 2


def test_a_missing_version_must_be_confirmed(polls):
    [poll] = polls.take_due(1000, 1)
    assert poll.confirmed({"1.0"}, 1000, 120) == set()
    assert poll.confirmed({"1.0", "2.0"}, 1150, 120) == {"1.0"}
    assert poll.confirmed({"2.0"}, 1200, 120) == set()
    assert poll.confirmed({"1.0", "2.0"}, 1300, 120) == {"2.0"}


def test_failures_are_retried_less_often_and_logged_at_powers_of_ten():
    failures = Failures(first=10, longest=600)
    tries = [failures.failed() for _ in range(100)]
    assert [pause for pause, _ in tries[:8]] == [10, 20, 40, 80, 160, 320, 600, 600]
    assert [number for number, (_, log) in enumerate(tries, 1) if log] == [1, 10, 100]
    assert failures.recovered() == 100
    assert failures.recovered() == 0
    assert failures.failed(90) == (90, True)
    assert failures.failed(10**9)[0] == 600


def test_pages_that_drip_let_no_other_project_starve():
    """Each of ten projects holds a request for 40 s, and the others still have their turns."""
    polls = PollSchedule(interval=300, limit=3)
    polls.sync([WatchedRow(f"{kind}{n}") for kind in ("drip", "good") for n in range(10)], now=0)
    ends, polled = [], []
    for now in range(3000):
        for poll in [poll for end, poll in ends if end <= now]:
            name = poll.row.package
            if name.startswith("good"):
                polls.done(poll, now)
                polled.append((name, now))
            else:
                polls.postpone(poll, now + poll.failures.failed()[0])
        ends = [(end, poll) for end, poll in ends if end > now]
        for poll in polls.take_due(now, 3):
            ends.append((now + (40 if poll.row.package.startswith("drip") else 1), poll))
        assert sum(poll.failures.count > 0 for _, poll in ends) <= 1
    for name in {name for name, _ in polled}:
        times = [when for each, when in polled if each == name]
        assert times[0] <= 200  # before it is known which pages drip
        assert all(after - before <= 310 for before, after in pairwise(times[1:]))
    assert {name for name, _ in polled} == {f"good{n}" for n in range(10)}
