"""The decisions on slaves: single stories, and whatever may happen in any order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from piwheels.core.codec import NoData
from piwheels.core.database.rows import Lease
from piwheels.core.errors import BadWheel, DatabaseError, Refused
from piwheels.core.protocols import Outcome, SlaveOutput, slave_driver
from piwheels.core.states import SlaveState
from piwheels.master.logic import effects
from piwheels.master.logic.effects import (
    Ended,
    Grant,
    LogBuild,
    Publish,
    Release,
    Renew,
    Reply,
    Spoken,
    Warn,
    Written,
)
from piwheels.master.logic.fleet import Fleet
from piwheels.master.logic.intake import _fits, name_to_publish
from piwheels.master.logic.queue import RETRY
from piwheels.master.logic.slaves import allowed

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
HASH = "a" * 64


def hello(label="board", abi="cp311", resume=None, **timeouts):
    info = [
        timedelta(seconds=timeouts.get("build", 3600)),
        timedelta(seconds=timeouts.get("busy", 300)),
        abi[2:], abi, "linux_x86_64", label, "Debian", "12", "", "",
    ]  # fmt: skip
    if resume is not None:
        info.append({"level": 1, "resume": list(resume)})
    elif "level" in timeouts:
        info.append({"level": timeouts["level"]})
    return slave_driver.received("HELLO", info)


def stats(now=START):
    return slave_driver.received("IDLE", [now, 1, 1, 1, 1, 0, 0, 0.5, 40.0])


def file_state(name="foo-1.0-cp311-cp311-linux_x86_64.whl", filehash=HASH):
    return [name, 10, filehash, "x", "1", "x", "x", "x", None, {"apt": []}, "/simple"]


def built(*files, status=True):
    return slave_driver.received("BUILT", [status, timedelta(seconds=5), "log\n", list(files)])


PLACED = {
    "filename": "foo-1.0-cp311-cp311-linux_x86_64.whl",
    "metadata_hash": HASH,
    "requires_python": ">=3.9",
}


class Farm:
    """A fleet with a clock, for telling stories."""

    def __init__(self, queues=None):
        self.now = START
        self.fleet = Fleet("https://index.example/simple")
        self.fleet.queue.take_leases([], self.now)
        self.fleet.queue.replace(
            queues if queues is not None else {"cp311": [("foo", "1.0"), ("bar", "2")]}
        )

    def say(self, address, msg, data=NoData):
        made = self.fleet.request(address, msg, data, self.now)
        self.fleet.validate()
        return made

    def answer(self, slave_id, result=None, error=None):
        made = self.fleet.answered(slave_id, result, error, self.now)
        self.fleet.validate()
        return made

    def join(self, address=b"a", **about):
        (reply,) = replies(self.say(address, "HELLO", hello(**about)))
        assert reply.msg == "ACK"
        return reply.data[0]

    def build(self, address=b"a", **about):
        slave_id = self.join(address, **about)
        (reply,) = replies(self.say(address, "IDLE", stats()))
        assert reply.msg == "BUILD"
        return slave_id


def replies(made):
    return [effect for effect in made if isinstance(effect, Reply)]


def of(kind, made):
    return [effect for effect in made if isinstance(effect, kind)]


def test_a_build_from_hello_to_done():
    farm = Farm()
    slave_id = farm.join()
    made = farm.say(b"a", "IDLE", stats())
    assert replies(made) == [Reply(b"a", "BUILD", ("foo", "1.0"))]
    assert of(Grant, made)[0].target == ("foo", "1.0", "cp311")
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]
    made = farm.say(b"a", "BUILT", built(file_state()))
    assert made == [effects.AskPublished(slave_id, "foo")]
    (expect,) = farm.answer(slave_id, {})
    assert expect.publish_as == expect.state.filename
    made = farm.answer(slave_id)
    assert replies(made) == [Reply(b"a", "SEND", expect.state.filename)]
    assert farm.say(b"a", "SENT") == [effects.Verify(slave_id, "foo")]
    (log,) = farm.answer(slave_id, PLACED)
    assert isinstance(log, LogBuild)
    assert log.build.status
    state = log.build.files[PLACED["filename"]]
    assert (state.abi_tag, state.requires_python, state.metadata_hash) == ("cp311", ">=3.9", HASH)
    made = farm.answer(slave_id, 7)
    assert of(Written, made)[0].build.build_id == 7
    assert replies(made) == [Reply(b"a", "DONE")]
    assert replies(farm.say(b"a", "IDLE", stats()))[0].data == ("bar", "2")


def test_a_failed_build_is_logged_and_done():
    farm = Farm()
    slave_id = farm.build()
    (log,) = farm.say(b"a", "BUILT", built(status=False))
    assert not log.build.status
    assert replies(farm.answer(slave_id, 1)) == [Reply(b"a", "DONE")]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([], "made no wheel"),
        ([file_state("other-1.0-cp311-cp311-linux_x86_64.whl")], "not a file of foo"),
        ([file_state("foo-2.0-cp311-cp311-linux_x86_64.whl")], "not a file of version 1.0"),
        ([file_state("foo-1.0-cp39-cp39-linux_x86_64.whl")], "not for the ABI"),
        ([file_state("foo-1.0-cp311-cp311-win_amd64.whl")], "another platform"),
        ([file_state(), file_state()], "made no wheel"),
        ([file_state("foo.whl")], "foo.whl"),
    ],
)
def test_success_with_the_wrong_files_is_a_failed_build(files, why):
    farm = Farm()
    farm.build()
    (log,) = farm.say(b"a", "BUILT", built(*files))
    assert not log.build.status
    assert not log.build.files
    assert why in log.build.output


@pytest.mark.parametrize(
    ("tag", "platform", "fits"),
    [
        ("any", "linux_armv7l", True),
        ("linux_armv6l", "linux_armv7l", True),
        ("linux_armv7l", "linux_armv8l", True),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", "linux_x86_64", True),
        ("musllinux_1_2_aarch64", "linux_aarch64", True),
        ("linux_i686", "linux_i386", True),
        ("linux_aarch64", "linux_armv7l", False),
        ("win_amd64", "linux_x86_64", False),
        ("macosx_11_0_x86_64", "linux_x86_64", False),
        ("linux_x86_64.win32", "linux_x86_64", False),
    ],
)
def test_a_platform_fits_the_builders(tag, platform, fits):
    assert _fits(tag, platform) == fits


def test_a_file_that_does_not_verify_is_asked_for_again_but_not_for_ever():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    farm.answer(slave_id, {})
    for _ in range(2):
        assert replies(farm.answer(slave_id))[0].msg == "SEND"
        farm.say(b"a", "SENT")
        assert of(effects.Expect, farm.answer(slave_id, error=Refused("BADHASH", "no")))
    farm.answer(slave_id)
    farm.say(b"a", "SENT")
    (log,) = of(LogBuild, farm.answer(slave_id, error=Refused("BADHASH", "the hash differs")))
    assert not log.build.status
    assert "the hash differs" in log.build.output


def test_a_broken_wheel_is_a_failed_build_at_once():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    farm.answer(slave_id, {})
    farm.answer(slave_id)
    farm.say(b"a", "SENT")
    (log,) = of(LogBuild, farm.answer(slave_id, error=Refused("BADWHEEL", "no METADATA")))
    assert "no METADATA" in log.build.output
    assert replies(farm.answer(slave_id, 1)) == [Reply(b"a", "DONE")]


@pytest.mark.parametrize("step", ["published", "expect", "verify"])
def test_a_build_that_we_cannot_take_is_built_again_later(step):
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    error = DatabaseError("away") if step == "published" else Refused("NOROOM", "disk full")
    if step != "published":
        farm.answer(slave_id, {})
    if step == "verify":
        farm.answer(slave_id)
        farm.say(b"a", "SENT")
    made = farm.answer(slave_id, error=error)
    assert replies(made) == [Reply(b"a", "DONE")]
    assert not of(LogBuild, made)
    assert of(Warn, made)
    farm.fleet.queue.replace({"cp311": [("foo", "1.0")]})
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "SLEEP"
    farm.now += timedelta(minutes=6)
    farm.fleet.tick(farm.now)
    farm.fleet.queue.replace({"cp311": [("foo", "1.0")]})
    farm.build(b"b")


def test_a_published_name_never_changes_its_bytes():
    name = "foo-1.0-py3-none-any.whl"
    assert name_to_publish(name, HASH, {}) == name
    assert name_to_publish(name, HASH, {name: HASH}) == name
    other = name_to_publish(name, HASH, {name: "b" * 64})
    assert other == "foo-1.0-1-py3-none-any.whl"
    assert name_to_publish(name, HASH, {name: "b" * 64, other: "c" * 64}).startswith("foo-1.0-2-")


def test_a_database_that_fails_is_asked_again_and_loses_nothing():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    made = farm.answer(slave_id, error=DatabaseError("away"))
    assert [type(effect) for effect in made] == [Warn]  # not at once: it may be away for long
    assert len(of(LogBuild, farm.fleet.tick(farm.now))) == 1
    assert not of(LogBuild, farm.fleet.tick(farm.now))
    assert replies(farm.answer(slave_id, 3)) == [Reply(b"a", "DONE")]


def test_a_build_that_can_never_be_logged_does_not_keep_its_slave_for_ever():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    for _ in range(59):
        assert not replies(farm.answer(slave_id, error=DatabaseError("away")))
        assert of(LogBuild, farm.fleet.tick(farm.now))
    made = farm.answer(slave_id, error=DatabaseError("away"))
    assert replies(made) == [Reply(b"a", "DONE")]
    assert of(Release, made)


def test_a_version_that_went_meanwhile_is_dropped():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    made = farm.answer(slave_id, error=Refused("NOVER"))
    assert replies(made) == [Reply(b"a", "DONE")]
    assert of(Release, made)


def test_no_version_is_handed_out_twice():
    farm = Farm()
    farm.build(b"a")
    farm.fleet.queue.replace({"cp311": [("foo", "1.0")]})
    farm.join(b"b")
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", False)]


@pytest.mark.parametrize("end", ["BYE", "silence", "in mid-transfer"])
def test_what_a_slave_leaves_behind_is_the_next_ones_at_once(end):
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2")]})
    slave_id = farm.build(b"a")
    if end == "in mid-transfer":
        farm.say(b"a", "BUILT", built(file_state()))
        farm.answer(slave_id, {})
        farm.answer(slave_id)
    if end == "silence":
        farm.now += timedelta(seconds=301)
        farm.fleet.tick(farm.now)
    else:
        farm.say(b"a", "BYE")
    farm.join(b"b")
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "BUILD", ("foo", "1.0"))]


def test_what_was_skipped_or_deleted_is_not_handed_on():
    farm = Farm({"cp311": [("foo", "1.0")]})
    farm.build(b"a")
    farm.fleet.deletion("foo", None)
    farm.say(b"a", "BYE")
    farm.join(b"b")
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", False)]


def test_a_queue_that_was_read_before_the_commit_does_no_harm():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    farm.answer(slave_id, 1)
    farm.fleet.queue.replace({"cp311": [("foo", "1.0")]})
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "SLEEP"


def test_a_queue_that_runs_dry_is_read_again_but_an_empty_one_is_left_alone():
    farm = Farm({"cp311": [("foo", "1.0")]})
    farm.build(b"a")
    farm.join(b"b")
    assert of(effects.More, farm.say(b"b", "IDLE", stats())) == [effects.More(1)]
    farm.fleet.queue.replace({"cp311": []})
    assert not of(effects.More, farm.say(b"b", "IDLE", stats()))
    farm.fleet.skip(1)
    farm.say(b"a", "BUSY", stats())  # given back
    assert of(effects.More, farm.say(b"b", "IDLE", stats())) == [effects.More(0)]


def test_a_slave_that_vanishes_has_its_version_handed_out_again():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    farm.now += timedelta(seconds=299)
    assert not of(Publish, farm.fleet.tick(farm.now))
    farm.now += timedelta(seconds=2)
    made = farm.fleet.tick(farm.now)
    assert of(Publish, made)[0][:3] == (slave_id, farm.now, "DIE")
    assert of(Release, made)
    farm.fleet.queue.replace({"cp311": [("foo", "1.0")]})
    farm.build(b"b")
    # The one that was taken for dead comes back: a stranger now.
    assert farm.say(b"a", "BUSY", stats()) == [Reply(b"a", "DIE")]


def test_leases_of_an_earlier_master_hold_until_their_end():
    farm = Farm({"cp311": [("foo", "1.0")]})
    farm.join()
    until = farm.now + timedelta(seconds=60)
    farm.fleet.queue.take_leases([Lease("foo", "1.0", "cp311", "board", START, until)], farm.now)
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "SLEEP"
    farm.fleet.queue.replace({"cp311": [("foo", "1.0")]})
    farm.now = until + timedelta(seconds=1)
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "BUILD"


@pytest.mark.parametrize("seconds", [60, -3600])
def test_a_slave_that_lost_its_master_goes_on_with_its_build(seconds):
    farm = Farm({"cp311": []})
    until = farm.now + timedelta(seconds=seconds)  # a lapsed lease does, too
    farm.fleet.queue.take_leases([Lease("foo", "1.0", "cp311", "board", START, until)], farm.now)
    made = farm.say(b"a", "HELLO", hello(resume=("foo", "1.0")))
    slave_id = replies(made)[0].data[0]
    assert Publish(slave_id, farm.now, "BUILD", ("foo", "1.0")) in made  # for the consoles
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]
    assert of(LogBuild, farm.say(b"a", "BUILT", built(status=False)))[0].slave_id == slave_id


def test_a_slave_that_reconnects_takes_its_build_over_from_its_old_self():
    farm = Farm({"cp311": [("foo", "1.0")]})
    old = farm.build(b"a")
    made = farm.say(b"b", "HELLO", hello(resume=("foo", "1.0")))
    assert (old, "DIE") in [(p.slave_id, p.msg) for p in of(Publish, made)]
    assert replies(farm.say(b"b", "BUSY", stats())) == [Reply(b"b", "CONT")]


def test_a_build_that_is_anothers_by_now_is_given_up():
    farm = Farm({"cp311": [("foo", "1.0")]})
    farm.build(b"a")
    farm.join(b"b", label="thief", resume=("foo", "1.0"))
    assert replies(farm.say(b"b", "BUSY", stats())) == [Reply(b"b", "DONE")]


def test_out_of_order_is_the_end():
    farm = Farm()
    farm.build()
    made = farm.say(b"a", "IDLE", stats())
    assert replies(made) == [Reply(b"a", "DIE")]
    assert of(Warn, made)
    assert of(Release, made)
    assert not farm.fleet.slaves


def test_operators():
    farm = Farm()
    one, two = farm.build(b"a"), farm.join(b"b")
    farm.fleet.skip(two)  # builds nothing: ignored
    farm.fleet.skip(one)
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "DONE")]
    farm.fleet.sleep(two)
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", True)]
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "BUILD"
    farm.fleet.wake(two)
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", False)]
    farm.fleet.sleep(None)
    farm.join(b"c")
    assert replies(farm.say(b"c", "IDLE", stats())) == [Reply(b"c", "SLEEP", True)]
    farm.fleet.kill(None)
    for address in (b"b", b"c"):
        assert replies(farm.say(address, "IDLE", stats())) == [Reply(address, "DIE")]
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]  # it builds first
    farm.fleet.skip(one)
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "DONE")]
    assert replies(farm.say(b"a", "IDLE", stats())) == [Reply(b"a", "DIE")]


def test_a_slave_that_is_to_end_finishes_its_build_first():
    farm = Farm()
    slave_id = farm.build(b"a")
    farm.fleet.kill(slave_id)
    farm.say(b"a", "BUILT", built(status=False))
    assert replies(farm.answer(slave_id, 1)) == [Reply(b"a", "DIE")]


def test_what_is_being_built_waits_no_more():
    jobs = {"cp311": [("foo", "1"), ("bar", "1")]}
    farm = Farm(jobs)
    farm.build(b"a")
    farm.fleet.queue.replace(jobs)  # read before it was handed out
    assert list(farm.fleet.queue.waiting("cp311")) == [("bar", "1")]
    assert list(farm.fleet.queue.waiting("cp312")) == []


def test_what_is_skipped_waits_a_while():
    jobs = {"cp311": [("hangs", "1"), ("next", "1")]}
    farm = Farm(jobs)
    slave_id = farm.build(b"a")
    farm.fleet.skip(slave_id)
    farm.say(b"a", "BUSY", stats())
    farm.fleet.queue.replace(jobs)  # the database has it in its first place again
    assert replies(farm.say(b"a", "IDLE", stats())) == [Reply(b"a", "BUILD", ("next", "1"))]
    farm.join(b"b")
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", False)]
    farm.now += RETRY
    farm.fleet.queue.replace(jobs)
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "BUILD", ("hangs", "1"))]


def test_waking_takes_back_what_was_not_acted_on():
    farm = Farm()
    slave_id = farm.build(b"a")
    farm.fleet.kill(slave_id)
    farm.fleet.skip(slave_id)
    farm.fleet.sleep(slave_id)
    farm.fleet.wake(slave_id)
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]
    farm.fleet.skip(slave_id)
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "DONE")]
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "BUILD"


def test_deleted_packages_are_given_up():
    farm = Farm({"cp311": [("foo", "1.0"), ("foo", "2.0"), ("bar", "2")]})
    farm.build()
    farm.fleet.deletion("foo", None)
    farm.fleet.queue.replace({"cp311": [("foo", "2.0"), ("bar", "2")]})
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "DONE")]
    assert replies(farm.say(b"a", "IDLE", stats())) == [Reply(b"a", "BUILD", ("bar", "2"))]


def test_a_build_that_never_ends_is_ended():
    farm = Farm()
    slave_id = farm.build(build=100)
    farm.now += timedelta(seconds=200)
    (log,) = of(LogBuild, farm.say(b"a", "BUSY", stats()))
    assert "time-out" in log.build.output
    assert replies(farm.answer(slave_id, 1)) == [Reply(b"a", "DONE")]


def test_leases_are_renewed_while_slaves_live():
    farm = Farm()
    farm.build()
    (renew,) = of(Renew, farm.fleet.tick(farm.now))
    assert renew == Renew([("foo", "1.0", "cp311")], farm.now + timedelta(seconds=300))


def test_a_replay_tells_of_what_is_being_sent():
    farm = Farm()
    slave_id = farm.build()
    began = farm.now
    farm.now += timedelta(seconds=60)
    farm.say(b"a", "BUILT", built(file_state()))
    for _ in range(2):  # before the first reply to it, and after
        told = farm.fleet.replay(0, 1000)
        assert (told[2].timestamp, told[2].msg, told[2].data) == (began, "BUILD", ("foo", "1.0"))
        farm.answer(slave_id, {})
        farm.answer(slave_id)
    assert [event.msg for event in told[3:]] == ["SEND"]


def test_a_replay_comes_in_parts_of_whole_slaves():
    farm = Farm({})
    for number in range(7):
        farm.join(b"%d" % number)
        for _ in range(number):
            farm.say(b"%d" % number, "IDLE", stats())
    farm.say(b"3", "BYE")
    parts, after = [], 0
    while part := farm.fleet.replay(after, 5):
        parts.append(part)
        after = part[-1].slave_id
    assert [sorted({event.slave_id for event in part}) for part in parts] == [
        [1, 2],
        [3],
        [5],
        [6],
        [7],
    ]
    assert len(parts[-1]) == 1 + 6 + 1


@pytest.mark.parametrize(("slaves", "figures"), [(1, 100), (150, 100), (500, 30), (10_000, 1)])
def test_a_replay_is_less_than_what_may_wait_in_a_socket(slaves, figures):
    farm = Farm({})
    for number in range(slaves):
        slave = SlaveState(b"%d" % number, *hello(), slave_id=number + 1, first_seen=START)
        slave.stats.extend([stats()] * 100)
        slave.reply, slave.replied_at = ("SLEEP", False), START
        farm.fleet.slaves[slave.address] = farm.fleet.numbers[number + 1] = slave
    told = farm.fleet.replay(0, 10**6)
    assert len(told) == slaves * (figures + 2) < 100_000


def test_the_outcome_of_a_build_is_told_once_it_is_known():
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2"), ("baz", "3")]})
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    for result in ({}, None):
        farm.answer(slave_id, result)
    farm.say(b"a", "SENT")
    assert not of(Ended, farm.answer(slave_id, PLACED))
    farm.say(b"a", "BYE")
    took = timedelta(seconds=5)
    ok = Outcome(7, slave_id, "board", "foo", "1.0", "cp311", "ok", took, 1, farm.now)
    assert of(Ended, farm.answer(slave_id, 7)) == [Ended(slave_id, ok)]

    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    failed = Outcome(8, slave_id, "board", "bar", "2", "cp311", "failed", took, 0, farm.now)
    assert of(Ended, farm.answer(slave_id, 8)) == [Ended(slave_id, failed)]

    farm.say(b"a", "IDLE", stats())
    farm.now += took
    farm.fleet.skip(slave_id)
    skipped = Outcome(None, slave_id, "board", "baz", "3", "cp311", "skipped", took, 0, farm.now)
    assert of(Ended, farm.say(b"a", "BUSY", stats())) == [Ended(slave_id, skipped)]


def test_a_build_that_is_not_kept_ends_without_an_outcome():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    assert of(Ended, farm.say(b"a", "BYE")) == [Ended(slave_id, None)]
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    assert of(Ended, farm.answer(slave_id, error=Refused("NOVER"))) == [Ended(slave_id, None)]


def test_what_a_build_says_is_passed_on_and_is_a_sign_of_life():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build(level=1, busy=10)
    for seconds in range(0, 60, 9):
        farm.now = START + timedelta(seconds=seconds)
        made = farm.say(b"a", "OUTPUT", SlaveOutput(seconds, "text"))
        assert made == [Spoken(slave_id, "foo", "1.0", seconds, "text"), Reply(b"a", "CONT")]
        farm.fleet.tick(farm.now)
    farm.fleet.skip(slave_id)
    made = farm.say(b"a", "OUTPUT", SlaveOutput(60, "text"))
    assert (replies(made), of(Spoken, made)) == ([Reply(b"a", "DONE")], [])


@pytest.mark.parametrize("level", [0, True, "1", None, -1])
def test_who_does_not_speak_level_1_may_say_no_output(level):
    farm = Farm()
    farm.build(level=level)
    made = farm.say(b"a", "OUTPUT", SlaveOutput(0, "text"))
    assert replies(made) == [Reply(b"a", "DIE")]


def test_commands_tell_who_did_not_take_them():
    farm = Farm()
    one, two = farm.build(b"a"), farm.join(b"b")
    assert farm.fleet.command("SKIP", [one, two, 9, 9]) == [
        (two, "not building"),
        (9, "no such slave"),
    ]
    assert farm.fleet.command("KILL", [one, two, 9]) == [(9, "no such slave")]
    assert farm.fleet.command("SLEEP", None) == []
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "DONE")]
    assert replies(farm.say(b"a", "IDLE", stats())) == [Reply(b"a", "DIE")]
    assert farm.fleet.paused


def test_replay_tells_since_when_a_slave_sleeps():
    farm = Farm({"cp311": []})
    farm.join(b"a")
    farm.say(b"a", "IDLE", stats())
    began = farm.now
    for _ in range(3):
        farm.now += timedelta(seconds=10)
        farm.say(b"a", "IDLE", stats())
    assert farm.fleet.replay(0, 1000)[-1][1:] == (began, "SLEEP", False)
    farm.fleet.sleep(None)
    farm.say(b"a", "IDLE", stats())
    assert farm.fleet.replay(0, 1000)[-1][1:] == (farm.now, "SLEEP", True)


def test_replay_tells_when_a_build_began():
    farm = Farm()
    farm.build()
    began = farm.now
    farm.now += timedelta(seconds=60)
    farm.say(b"a", "BUSY", stats(farm.now))
    told = farm.fleet.replay(0, 1000)
    assert [event.msg for event in told] == ["HELLO", "STATS", "STATS", "BUILD"]
    assert told[-1].timestamp == began


def test_a_slave_in_transfer_may_be_silent_for_longer():
    farm = Farm()
    slave_id = farm.build(busy=10)
    big = file_state()
    big[1] = 50_000 * 100
    farm.say(b"a", "BUILT", built(big))
    farm.answer(slave_id, {})
    farm.answer(slave_id)
    farm.now += timedelta(seconds=100)
    assert not of(Publish, farm.fleet.tick(farm.now))
    farm.now += timedelta(seconds=20)
    assert of(Publish, farm.fleet.tick(farm.now))


class Anything(RuleBasedStateMachine):
    """Slaves, tasks and operators do what the protocols allow (and a little more) in any order."""

    addresses = Bundle("addresses")

    def __init__(self):
        super().__init__()
        self.now = START
        self.fleet = Fleet("url")
        self.asked = []
        self.waiting = set()

    def take(self, made):
        for effect in made:
            match effect:
                case Reply(address=address):
                    self.waiting.discard(address)
                case effects.AskPublished() | effects.Expect() | effects.Verify() | LogBuild():
                    self.asked.append(effect)
                case _:
                    pass

    @rule(
        target=addresses,
        n=st.integers(0, 5),
        abi=st.sampled_from(["cp311", "cp313"]),
        resume=st.booleans(),
    )
    def join(self, n, abi, resume):
        address = b"%d" % n
        job = ("foo", "1.0") if resume else None
        if address not in self.fleet.slaves:
            self.take(self.fleet.request(address, "HELLO", hello(f"l{n % 2}", abi, job), self.now))
        return address

    @rule(address=addresses, data=st.data())
    def speak(self, address, data):
        slave = self.fleet.slaves.get(address)
        choices = sorted(allowed(slave)) if slave else ["IDLE", "BUSY", "BYE"]
        msg = data.draw(st.sampled_from([*choices, "IDLE", "SENT"]))
        if slave is None or slave.reply is None:
            choices = ["BYE"]
        names = [
            "foo-1.0-cp311-cp311-linux_x86_64.whl",
            "foo-1.0-py3-none-any.whl",
            "evil-1-py3-none-any.whl",
        ]
        files = [file_state(n) for n in data.draw(st.lists(st.sampled_from(names), max_size=2))]
        payload = {"BUILT": built(*files, status=data.draw(st.booleans()))}.get(msg, NoData)
        if msg in ("IDLE", "BUSY"):
            payload = stats(self.now)
        if msg == "OUTPUT":
            payload = SlaveOutput(data.draw(st.integers(0, 9)), "text")
        self.take(self.fleet.request(address, msg, payload, self.now))

    @rule(data=st.data())
    def answer(self, data):
        if not self.asked:
            return
        effect = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        errors = [
            None,
            Refused("BADHASH"),
            Refused("BADWHEEL"),
            Refused("NOVER"),
            Refused("FILECONFLICT"),
            DatabaseError("x"),
        ]
        error = data.draw(st.sampled_from(errors))
        result = None
        match effect:
            case effects.AskPublished():
                result = {PLACED["filename"]: data.draw(st.sampled_from([HASH, "b" * 64]))}
            case effects.Verify():
                result = PLACED
            case LogBuild():
                result = 1
        result = result if error is None else None
        self.take(self.fleet.answered(effect.slave_id, result, error, self.now))

    @rule(
        jobs=st.lists(st.sampled_from([("foo", "1.0"), ("foo", "2.0"), ("bar", "1")]), unique=True)
    )
    def queue(self, jobs):
        self.fleet.queue.replace({"cp311": jobs, "cp313": jobs})

    @rule(seconds=st.sampled_from([1, 100, 1000, 5000]))
    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.take(self.fleet.tick(self.now))

    @rule(n=st.none() | st.integers(0, 5), what=st.sampled_from(["kill", "skip", "sleep", "wake"]))
    def operate(self, n, what):
        getattr(self.fleet, what)(n)

    @rule()
    def learn_leases(self):
        until = self.now + timedelta(seconds=100)
        self.fleet.queue.take_leases([Lease("foo", "1.0", "cp311", "l0", START, until)], self.now)

    @rule(version=st.sampled_from([None, "1.0"]))
    def delete(self, version):
        self.fleet.deletion("foo", version)

    @rule()
    def look(self):
        parts, after = [], 0
        while part := self.fleet.replay(after, 3):
            parts += part
            after = part[-1].slave_id
        assert parts == self.fleet.replay(0, 1000)

    @rule(
        verb=st.sampled_from(["KILL", "SKIP", "SLEEP", "WAKE"]),
        ids=st.none() | st.lists(st.integers(0, 9), max_size=4),
    )
    def command(self, verb, ids):
        untold = {one.slave_id for one in self.fleet.command(verb, ids)}
        assert untold.issuperset(set(ids or ()) - set(self.fleet.numbers))

    @invariant()
    def holds(self):
        self.fleet.validate()


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_bad_wheel_names_are_not_published():
    with pytest.raises(BadWheel):
        name_to_publish("foo.whl", HASH, {"foo.whl": "b" * 64})
