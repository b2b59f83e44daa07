from piwheels.master.logic.rhythm import AGAIN, SLOW, Rhythm


def written(began=0.0, ended=0.5, pause=60.0):
    rhythm = Rhythm(pause)
    rhythm.begin()
    rhythm.done(began, ended)
    return rhythm


def test_pages_are_written_at_first_and_when_they_are_stale():
    assert Rhythm(60).is_due(0)
    rhythm = written()
    assert not rhythm.is_due(1000)
    rhythm.touch()
    assert rhythm.is_due(1000)


def test_at_most_once_in_a_pause():
    rhythm = written()
    rhythm.touch()
    assert not rhythm.is_due(60.4)
    assert rhythm.is_due(60.5)


def test_what_takes_long_is_written_less_often_but_for_what_is_urgent():
    rhythm = written(ended=3 * SLOW)
    rhythm.touch()
    assert not rhythm.is_due(3 * SLOW + 179)
    assert rhythm.is_due(3 * SLOW + 180)
    rhythm.touch(urgent=True)
    assert not rhythm.is_due(3 * SLOW + 29)
    assert rhythm.is_due(3 * SLOW + 30)


def test_what_changes_while_pages_are_written_is_not_forgotten():
    rhythm = Rhythm(60)
    rhythm.begin()
    rhythm.touch()
    rhythm.done(0, 1)
    assert rhythm.is_due(61)


def test_what_has_failed_is_tried_again_soon():
    rhythm = Rhythm(60)
    rhythm.begin()
    rhythm.failed(10)
    rhythm.touch(urgent=True)
    assert not rhythm.is_due(10 + AGAIN - 0.1)
    assert rhythm.is_due(10 + AGAIN)
    late = written(ended=3 * SLOW)
    late.touch()
    late.wait(10)
    assert not late.is_due(70)
    late.touch(urgent=True)
    assert late.is_due(70)
