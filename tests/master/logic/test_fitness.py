"""Slaves that fail by their own fault are suspended, and their failures do not count."""

from datetime import timedelta

import pytest

from piwheels.core.database.rows import Published
from piwheels.core.errors import Refused
from piwheels.core.states import Attempt
from piwheels.master.logic import effects
from piwheels.master.logic.effects import (
    BuildStored,
    LogBuild,
    PublishEnd,
    ReportPause,
    ReportRow,
    Warn,
)
from piwheels.master.logic.fitness import FIRST_PAUSE, LONGEST_PAUSE, ROW, builder_of, shortage
from slave_messages import (
    Farm,
    built,
    failed,
    file_state,
    of,
    replies,
    rows_of,
    stats,
    target_for,
)

#: What the database answers about a package without files.
NOTHING = Published({}, {})
#: A version that another slave has built.
ELSEWHERE = ("elsewhere", "1", target_for("cp311"))
NO_SSL = "the ssl module in Python is not available"
NO_HEADERS = "x.c:1:10: fatal error: Python.h: No such file or directory"


def versions(count):
    return {"cp311": [(f"p{number}", "1") for number in range(count)]}


def fail(farm, address, slave_id, log, *more, counts):
    """Have a slave fail its next build; return the effects of the report, and of its storage."""
    (reply,) = replies(farm.say(address, "IDLE", stats()))
    assert reply.msg == "BUILD", reply
    made = farm.say(address, "BUILT", failed(log, *more))
    (log_build,) = of(LogBuild, made)
    assert log_build.build.counts == counts
    stored = farm.answer(slave_id, 7)
    assert of(BuildStored, stored)
    assert of(PublishEnd, stored)[0].outcome.counts == counts
    assert replies(stored)[0].msg == "DONE"
    return made


def works(farm, address):
    (reply,) = replies(farm.say(address, "IDLE", stats()))
    assert reply.msg != "SLEEP" or reply.data
    return reply.msg == "BUILD"


def test_a_broken_slave_burns_no_version():
    farm = Farm(versions(10))
    slave_id = farm.join()
    made = fail(farm, b"a", slave_id, NO_SSL, counts=False)
    (pause,) = of(ReportPause, made)
    assert pause.slave.slave_id == slave_id
    assert "slave broken" in pause.reason
    assert "resume it" in pause.text
    assert farm.fleet.pauses(farm.seconds) == [(slave_id, f"the master: {pause.reason}")]
    assert not works(farm, b"a")


def test_a_lost_build_does_not_count_although_no_other_slave_can_try_it():
    farm = Farm(versions(10))
    slave_id = farm.join()
    for number in range(5):
        made = fail(farm, b"a", slave_id, "log\n", (), (), True, counts=False)
        assert bool(of(ReportPause, made)) == (number == 4)
        assert "supervisor of the build was killed" in of(Warn, made)[0].text


def test_a_build_cannot_print_that_it_was_lost():
    farm = Farm(versions(1))
    slave_id = farm.join()
    log = "piwheels: the build was lost, because its supervisor was killed\n"
    fail(farm, b"a", slave_id, log, counts=True)


def test_a_suspended_slave_is_tried_again_after_longer_and_longer_times():
    farm = Farm(versions(10))
    slave_id = farm.join()
    for pause in (FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE, LONGEST_PAUSE):
        fail(farm, b"a", slave_id, NO_SSL, counts=False)
        for _ in range(10):
            farm.wait((pause - 1) / 10)
            assert not works(farm, b"a")
        farm.wait(2)
    assert farm.fleet.pauses(farm.seconds) == []


@pytest.mark.parametrize("whole", [False, True])
def test_an_operator_ends_a_suspension(whole):
    farm = Farm(versions(3))
    slave_id = farm.join()
    fail(farm, b"a", slave_id, NO_SSL, counts=False)
    farm.fleet.command("WAKE", None if whole else [slave_id])
    assert works(farm, b"a")


def test_a_failure_of_the_farm_is_stored_although_its_slave_leaves():
    farm = Farm(versions(1))
    slave_id = farm.build()
    (log,) = of(LogBuild, farm.say(b"a", "BUILT", failed(NO_SSL)))
    assert log.build.retry.delay == timedelta(seconds=60)
    farm.say(b"a", "BYE")
    assert of(BuildStored, farm.answer(slave_id, 8))
    assert not farm.fleet.intakes


def test_another_slave_tries_what_may_be_the_fault_of_the_first():
    farm = Farm(versions(3))
    first = farm.join(b"a", label="one", busy=3600)
    farm.join(b"b", label="two", busy=3600)
    made = fail(farm, b"a", first, NO_HEADERS, counts=False)
    assert not of(ReportPause, made)
    (log,) = of(LogBuild, made)
    assert log.build.retry.delay == timedelta(0)
    # Later rows of the same attempt are over; those of the next one are not.
    rows = rows_of(versions(3))
    farm.fleet.queue.replace([target_for("cp311")], rows, farm.instant)
    assert farm.fleet.queue.rows[target_for("cp311")] == rows[1:]
    rows[0] = rows[0]._replace(attempt=log.build.retry.attempt)
    farm.fleet.queue.replace([target_for("cp311")], rows, farm.instant)
    (reply,) = replies(farm.say(b"a", "IDLE", stats()))
    assert reply.data == ("p1", "1")
    (reply,) = replies(farm.say(b"b", "IDLE", stats()))
    assert reply.data == ("p0", "1")


def test_operators_learn_that_three_slaves_in_a_row_failed_because_of_the_farm():
    farm = Farm(versions(1))
    attempt, reports = Attempt(), []
    for address in (b"a", b"b", b"b", b"c", b"d"):
        slave_id = farm.join(address, label=address.decode())
        rows = [row._replace(attempt=attempt) for row in rows_of(versions(1))]
        farm.fleet.queue.replace([target_for("cp311")], rows, farm.instant)
        made = fail(farm, address, slave_id, "log\n", (), (), True, counts=False)
        attempt = of(LogBuild, made)[0].build.retry.attempt
        reports += [report.slaves for report in of(ReportRow, made)]
        farm.say(address, "BYE")
    assert [sorted(slaves) for slaves in reports] == [["a", "b", "c"]]


def test_without_another_slave_a_failure_of_the_farm_does_not_count_either():
    farm = Farm(versions(3))
    slave_id = farm.join()
    fail(farm, b"a", slave_id, NO_HEADERS, counts=False)
    assert works(farm, b"a")


def test_doubtful_failures_in_a_row_suspend_the_slave_and_a_success_ends_the_row():
    farm = Farm(versions(30))
    first = farm.join(b"a", label="one")
    farm.join(b"b", label="two")
    for _ in range(4):
        assert not of(ReportPause, fail(farm, b"a", first, NO_HEADERS, counts=False))
    (reply,) = replies(farm.say(b"a", "IDLE", stats()))
    name = f"{reply.data[0]}-1-py3-none-any.whl"
    farm.say(b"a", "BUILT", built(file_state(name)))
    placed = {"filename": name, "metadata_hash": "a" * 64, "requires_python": None}
    for result in (NOTHING, None):
        farm.answer(first, result)
    farm.say(b"a", "SENT")
    for result in (placed, 9):
        farm.answer(first, result)
    for number in range(5):
        made = fail(farm, b"a", first, NO_HEADERS, counts=False)
        assert bool(of(ReportPause, made)) == (number == 4)


@pytest.mark.parametrize("others_build", [False, True])
def test_a_slave_that_fails_everything_is_suspended_if_others_build(others_build):
    farm = Farm(versions(60))
    first, second = farm.join(b"a", label="one"), farm.join(b"b", label="two")
    for number in range(ROW):
        if others_build:
            slave = farm.fleet.by_number[second]
            farm.fleet.fitness.succeeded(builder_of(slave), ELSEWHERE, farm.seconds)
        last = others_build and number == ROW - 1
        made = fail(farm, b"a", first, "error: it does not work", counts=not last)
        assert bool(of(ReportPause, made)) == last
    assert works(farm, b"a") != others_build


def test_failures_of_packages_suspend_nobody():
    farm = Farm(versions(60))
    slave_id = farm.join()
    for _ in range(30):
        assert not of(ReportPause, fail(farm, b"a", slave_id, "error: no", counts=True))


# The master's disk ----------------------------------------------------------------------------


def test_below_its_reserve_the_master_hands_out_no_work_and_says_so_once():
    farm = Farm(versions(3))
    farm.join()
    assert farm.fleet.disk_space(1000, 1000) == []
    (pause,) = farm.fleet.disk_space(999, 1000)
    assert pause.slave is None
    assert "999 bytes free" in pause.reason
    assert "make room" in pause.text
    assert farm.fleet.disk_space(998, 1000) == []
    assert farm.fleet.pauses(farm.seconds) == [(None, f"the master: {pause.reason}")]
    assert not works(farm, b"a")
    assert farm.fleet.disk_space(1124, 1000) == []
    assert not works(farm, b"a")
    assert farm.fleet.disk_space(1125, 1000)[0].reason == ""
    assert works(farm, b"a")
    assert farm.fleet.pauses(farm.seconds) == []


def test_the_reserve_has_a_margin_once_work_has_stopped():
    assert not shortage(1000, 1000, closed=False)
    assert shortage(1124, 1000, closed=True)
    assert not shortage(0, 0, closed=True)


@pytest.mark.parametrize("step", ["before the transfer", "after it"])
def test_a_finished_build_waits_for_room(step):
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    farm.answer(slave_id, NOTHING)
    if step == "after it":
        farm.answer(slave_id)
        farm.say(b"a", "SENT")
    no_room = Refused("NOROOM", "disk full")
    (warning,) = farm.answer(slave_id, error=no_room)
    assert isinstance(warning, Warn)
    assert "keeps its build of foo 1.0" in warning.text
    for _ in range(8):
        assert of(effects.AskPublished, farm.tick())
        assert of(effects.Expect, farm.answer(slave_id, NOTHING))
        assert farm.answer(slave_id, error=no_room) == []
    farm.tick()
    farm.answer(slave_id, NOTHING)
    assert replies(farm.answer(slave_id))[0].msg == "SEND"


def test_a_finished_build_waits_for_a_busy_task():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    farm.answer(slave_id, NOTHING)
    for _ in range(3):
        made = farm.answer(slave_id, error=Refused("UNAVAILABLE"))
    assert not replies(made)
    assert of(effects.AskPublished, farm.tick())
