from piwheels.master.logic.schedule import RETRY, SLOW, Schedule


def written(began=0.0, ended=0.5, pause=60.0):
    schedule = Schedule(pause)
    schedule.begin()
    schedule.done(began, ended)
    return schedule


def test_pages_are_due_at_the_start_and_when_they_are_stale():
    assert Schedule(60).is_due(0)
    schedule = written()
    assert not schedule.is_due(1000)
    schedule.touch()
    assert schedule.is_due(1000)


def test_pages_are_written_at_most_once_in_a_pause():
    schedule = written()
    schedule.touch()
    assert not schedule.is_due(60.4)
    assert schedule.is_due(60.5)


def test_slow_pages_are_written_less_often_except_for_urgent_changes():
    schedule = written(ended=3 * SLOW)
    schedule.touch()
    assert not schedule.is_due(3 * SLOW + 179)
    assert schedule.is_due(3 * SLOW + 180)
    schedule.touch(urgent=True)
    assert not schedule.is_due(3 * SLOW + 29)
    assert schedule.is_due(3 * SLOW + 30)


def test_a_change_during_writing_makes_the_pages_stale_again():
    schedule = Schedule(60)
    schedule.begin()
    schedule.touch()
    schedule.done(0, 1)
    assert schedule.is_due(61)


def test_failed_pages_are_retried_after_a_delay():
    schedule = Schedule(60)
    schedule.begin()
    schedule.failed(10)
    schedule.touch(urgent=True)
    assert not schedule.is_due(10 + RETRY - 0.1)
    assert schedule.is_due(10 + RETRY)
    late = written(ended=3 * SLOW)
    late.touch()
    late.wait(10)
    assert not late.is_due(70)
    late.touch(urgent=True)
    assert late.is_due(70)
