"""The decisions on slaves: single cases, and events in any order."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from piwheels.core.clock import Clock
from piwheels.core.codec import NoData
from piwheels.core.conversations import slave_conversation
from piwheels.core.database.rows import Published
from piwheels.core.diagnosis import last_reason
from piwheels.core.errors import BadMessage, BadWheel, DatabaseError, Refused
from piwheels.core.protocols import (
    LEVEL_1_ID,
    BuildOutcome,
    SlaveOutput,
    slave_driver,
)
from piwheels.core.states import (
    HISTORY,
    MAX_FETCHES,
    MAX_URL,
    Fetch,
    Instant,
    Pending,
    Phase,
    SlaveState,
    Trial,
)
from piwheels.master.logic import effects
from piwheels.master.logic.build_queue import MAX_QUEUE_AGE, RETRY
from piwheels.master.logic.effects import (
    BuildStored,
    GrantLease,
    LogBuild,
    Publish,
    PublishEnd,
    PublishOutput,
    ReleaseLease,
    RenewLeases,
    Reply,
    Warn,
)
from piwheels.master.logic.fleet import MIN_RATE, Fleet
from piwheels.master.logic.intake import name_to_publish
from piwheels.master.logic.sessions import RECONNECT
from piwheels.master.logic.slave_state import TRANSITIONS, answer, move
from slave_messages import (
    HASH,
    START,
    Farm,
    built,
    file_state,
    hello,
    of,
    replies,
    request,
    rows_of,
    stats,
    target_for,
)

#: Steps of the wall clock that change no decision.
STEPS = [timedelta(minutes=10), timedelta(days=1), timedelta(hours=-1)]
#: What the database answers about a package without files.
NOTHING = Published({}, {})

PLACED = {
    "filename": "foo-1.0-cp311-cp311-linux_x86_64.whl",
    "metadata_hash": HASH,
    "requires_python": ">=3.9",
}


def test_a_version_that_may_be_built_returns_to_the_queue_only_from_the_database():
    farm = Farm({"cp311": []})
    farm.join(b"a", resume=["foo", "1.0"], identity="x")  # the database does not answer
    farm.fleet.disconnected(b"a", farm.instant)
    farm.wait(RECONNECT + 1)
    farm.tick()
    assert farm.fleet.slaves == {}
    farm.join(b"b", identity="y")
    assert replies(farm.say(b"b", "IDLE", stats()))[-1].msg == "SLEEP"
    farm.replace({"cp311": [("foo", "1.0")]})
    assert replies(farm.say(b"b", "IDLE", stats()))[-1].msg == "BUILD"


def test_a_stored_version_is_not_handed_out_from_a_queue_that_was_read_before():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    farm.replace({"cp311": [("foo", "1.0")]})  # it is being built
    farm.say(b"a", "BUILT", built(status=False))
    farm.answer(slave_id, 1)  # it is stored; the next queue is late, as the database is slow
    farm.wait(60)
    farm.tick()
    assert replies(farm.say(b"a", "IDLE", stats()))[-1].msg == "SLEEP"


def test_a_version_to_be_built_once_more_is_handed_out_soon():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    farm.answer(slave_id, 1)
    farm.replace({"cp311": [("foo", "1.0")]})  # read before the build was stored?
    made = farm.say(b"a", "IDLE", stats())
    assert replies(made)[-1].msg == "SLEEP"
    assert of(effects.ReadQueue, made), "nobody reads it again"
    farm.wait(MAX_QUEUE_AGE)
    farm.tick()
    farm.replace({"cp311": [("foo", "1.0")]})
    assert replies(farm.say(b"a", "IDLE", stats()))[-1].msg == "BUILD"


def test_a_build_from_hello_to_done():
    farm = Farm()
    slave_id = farm.join()
    made = farm.say(b"a", "IDLE", stats())
    assert replies(made) == [Reply(b"a", "BUILD", ("foo", "1.0"))]
    assert of(GrantLease, made)[0].assignment == ("foo", "1.0", target_for("cp311"))
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]
    made = farm.say(b"a", "BUILT", built(file_state()))
    assert made == [effects.AskPublished(slave_id, "foo", "1.0")]
    (expect,) = farm.answer(slave_id, NOTHING)
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
    assert of(BuildStored, made)[0].build.build_id == 7
    assert replies(made) == [Reply(b"a", "DONE")]
    assert replies(farm.say(b"a", "IDLE", stats()))[0].data == ("bar", "2")


def test_what_a_build_fetched_is_logged_up_to_a_limit():
    farm = Farm()
    farm.build()
    entry = ["https://files.example/x.zip", 9, HASH, ""]
    data = [False, timedelta(seconds=5), "log\n", [], [entry] * 5000]
    (log,) = of(LogBuild, farm.say(b"a", "BUILT", slave_driver.received("BUILT", data)))
    assert log.build.fetches == (Fetch(*entry),) * MAX_FETCHES


def test_the_trial_of_a_file_is_logged_with_it_and_of_no_other():
    farm = Farm()
    slave_id = farm.build()
    trials = [[file_state()[0], True, None, "needs numpy"], ["bar-1.0-py3-none-any.whl", False]]
    data = [True, timedelta(seconds=5), "log\n", [file_state()], [], trials]
    farm.say(b"a", "BUILT", slave_driver.received("BUILT", data))
    farm.answer(slave_id, NOTHING)
    farm.answer(slave_id)
    farm.say(b"a", "SENT")
    (log,) = farm.answer(slave_id, PLACED)
    assert [state.trial for state in log.build.files.values()] == [Trial(*trials[0])]


def test_a_file_that_pip_cannot_install_is_refused():
    farm = Farm()
    farm.build()
    trials = [[file_state()[0], False, None, "pip says no"]]
    data = [True, timedelta(seconds=5), "log\n", [file_state()], [], trials]
    (log,) = of(LogBuild, farm.say(b"a", "BUILT", slave_driver.received("BUILT", data)))
    assert not log.build.status
    assert "piwheels: pip cannot install foo-1.0-cp311-" in log.build.output


@pytest.mark.parametrize(
    "trial",
    [
        [1], [True, "yes"], [True, True, "a\nb"], [None, None, "x" * 201], [True, True, "", [], ""],
        [True, True, "", "", "", ""],
    ],
)  # fmt: skip
def test_an_invalid_trial_is_refused(trial):
    data = [True, timedelta(seconds=5), "log\n", [], []]
    with pytest.raises(BadMessage):
        slave_driver.received("BUILT", [*data, [["foo-1.0-py3-none-any.whl", *trial]]])


@pytest.mark.parametrize(
    "entry",
    [
        ["https://x.example/", -1, HASH, ""], ["https://x.example/", 2**63, HASH, ""],
        ["https://x.example/", 1, HASH.upper(), ""], ["https://x.example/", 1, "aa", ""],
        ["https://x.example/\n", 1, HASH, ""], ["https://x.example/\x1b[2J", 1, HASH, ""],
        ["x" * (MAX_URL + 1), 1, HASH, ""], [b"x", 1, HASH, ""], ["x", 1.5, HASH, ""],
        ["x", 1, HASH, "no\n"], ["x", 1, HASH, "x" * 201], ["x", 1, HASH, "", ""], ["x"], "x", None,
    ],
)  # fmt: skip
def test_an_entry_of_a_hostile_ledger_is_refused(entry):
    with pytest.raises(BadMessage):
        slave_driver.received("BUILT", [False, timedelta(1), "log", [], [entry]])


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
        ([file_state("foo-1.0-cp311-cp311-linux_armv7l.whl")], "another platform"),
        ([file_state("foo-1.0-py2-none-any.whl")], "made for Python 2: no installer for cp311"),
        ([file_state("foo-1.0-py27.py26-none-any.whl")], "made for Python 2"),
        ([file_state("foo-1.0-cp312-abi3-linux_x86_64.whl")], "made for cp312 with the ABI abi3"),
        ([file_state("foo-1.0-cp39-none-linux_x86_64.whl")], "made for cp39: no installer"),
        ([file_state("foo-1.0-cp311-cp311-any.whl")], "with the ABI cp311 on any machine"),
        ([file_state(), file_state("foo-1.0-py2-none-any.whl")], "made for Python 2"),
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


def test_a_damaged_file_is_requested_again_but_not_for_ever():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    farm.answer(slave_id, NOTHING)
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
    farm.answer(slave_id, NOTHING)
    farm.answer(slave_id)
    farm.say(b"a", "SENT")
    (log,) = of(LogBuild, farm.answer(slave_id, error=Refused("BADWHEEL", "no METADATA")))
    assert "no METADATA" in log.build.output
    assert replies(farm.answer(slave_id, 1)) == [Reply(b"a", "DONE")]


def test_a_published_name_never_changes_its_bytes():
    name = "foo-1.0-py3-none-any.whl"
    assert name_to_publish(name, HASH, {}) == name
    assert name_to_publish(name, HASH, {name: HASH}) == name
    other = name_to_publish(name, HASH, {name: "b" * 64})
    assert other == "foo-1.0-1-py3-none-any.whl"
    assert name_to_publish(name, HASH, {name: "b" * 64, other: "c" * 64}).startswith("foo-1.0-2-")


def test_a_build_chooses_no_build_tag():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state("foo-1.0-99999-py3-none-any.whl")))
    (expect,) = farm.answer(slave_id, Published({}, {}))
    assert expect.publish_as == "foo-1.0-py3-none-any.whl"


def test_the_name_of_a_removed_file_gets_no_other_bytes():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    (expect,) = farm.answer(slave_id, Published({}, {PLACED["filename"]: "b" * 64}))
    assert expect.publish_as == "foo-1.0-1-cp311-cp311-linux_x86_64.whl"


NATIVE, PURE = "cp39-cp39-linux_x86_64.whl", "py3-none-any.whl"


@pytest.mark.parametrize(
    ("published", "upstream", "held"),
    [
        ([], "", None),
        ([], "pure", None),
        ([], "native", "upstream's of this version"),
        ([f"foo-0.9-{NATIVE}"], "", "those of 0.9"),
        ([f"foo-0.9-{NATIVE}"], "pure", None),
        ([f"foo-0.8-{NATIVE}", f"foo-0.9-{PURE}"], "", None),
        ([f"foo-0.9-{NATIVE}", f"foo-0.9-{PURE}"], "", None),
        ([f"foo-0.9-1-{NATIVE}", f"foo-0.9-{NATIVE}"], "", "those of 0.9"),
        ([f"foo-1.1-{NATIVE}"], "", None),
        ([f"foo-0.9-{PURE}", f"foo-1.0-{NATIVE}"], "", "others of this version"),
        ([f"foo-0.9-{NATIVE}", f"foo-1.0-{PURE}"], "", None),
        (["foo-0.9-py3-none-linux_x86_64.whl"], "", "those of 0.9"),
    ],
)
def test_a_wheel_that_lacks_its_extension_is_held_back(published, upstream, held):
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state(f"foo-1.0-{PURE}")))
    made = farm.answer(slave_id, Published(dict.fromkeys(published, HASH), {}, upstream))
    if held is None:
        assert of(effects.Expect, made)
        return
    assert f"it has no extension, but {held} have one" in of(Warn, made)[0].text
    (log,) = of(LogBuild, made)
    assert not log.build.status
    assert "the wheel is held back" in last_reason(log.build.output)


def test_a_wheel_with_an_extension_is_never_held_back():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    assert of(effects.Expect, farm.answer(slave_id, Published({}, {}, "native")))


def test_a_commit_is_retried_when_the_database_fails():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    made = farm.answer(slave_id, error=DatabaseError("away"))
    assert [type(effect) for effect in made] == [Warn]  # retried later
    assert len(of(LogBuild, farm.tick())) == 1
    assert not of(LogBuild, farm.tick())
    assert replies(farm.answer(slave_id, 3)) == [Reply(b"a", "DONE")]


def test_a_finished_build_waits_for_the_database():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    for _ in range(59):
        assert not replies(farm.answer(slave_id, error=DatabaseError("away")))
        assert of(effects.AskPublished, farm.tick()) == [
            effects.AskPublished(slave_id, "foo", "1.0")
        ]
    assert of(effects.Expect, farm.answer(slave_id, NOTHING))
    assert replies(farm.answer(slave_id))[0].msg == "SEND"


def test_a_build_that_is_never_logged_releases_its_slave():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    for _ in range(59):
        assert not replies(farm.answer(slave_id, error=DatabaseError("away")))
        assert of(LogBuild, farm.tick())
    made = farm.answer(slave_id, error=DatabaseError("away"))
    assert replies(made) == [Reply(b"a", "DONE")]
    assert of(ReleaseLease, made)


def test_a_version_that_is_deleted_meanwhile_is_dropped():
    farm = Farm()
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    made = farm.answer(slave_id, error=Refused("NOVER"))
    assert replies(made) == [Reply(b"a", "DONE")]
    assert of(ReleaseLease, made)


def test_no_version_is_handed_out_twice():
    farm = Farm()
    farm.build(b"a")
    farm.replace({"cp311": [("foo", "1.0")]})
    farm.join(b"b")
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", False)]


@pytest.mark.parametrize("end", ["BYE", "silence", "in mid-transfer"])
def test_the_version_of_a_lost_slave_goes_to_the_next_one(end):
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2")]})
    slave_id = farm.build(b"a")
    if end == "in mid-transfer":
        farm.say(b"a", "BUILT", built(file_state()))
        farm.answer(slave_id, NOTHING)
        farm.answer(slave_id)
    if end == "silence":
        farm.wait(301)
        farm.tick()
    else:
        farm.say(b"a", "BYE")
    farm.join(b"b")
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "BUILD", ("foo", "1.0"))]


def test_a_skipped_or_deleted_version_is_not_handed_on():
    farm = Farm({"cp311": [("foo", "1.0")]})
    farm.build(b"a")
    farm.fleet.delete("foo", None)
    farm.say(b"a", "BYE")
    farm.join(b"b")
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", False)]


def test_a_queue_that_was_read_before_the_commit_does_no_harm():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    farm.answer(slave_id, 1)
    farm.replace({"cp311": [("foo", "1.0")]})
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "SLEEP"


def test_a_queue_that_runs_dry_is_read_again_but_an_empty_one_is_left_alone():
    farm = Farm({"cp311": [("foo", "1.0")]})
    farm.build(b"a")
    farm.join(b"b")
    assert of(effects.ReadQueue, farm.say(b"b", "IDLE", stats())) == [effects.ReadQueue(1)]
    farm.replace({"cp311": []})
    assert not of(effects.ReadQueue, farm.say(b"b", "IDLE", stats()))
    farm.fleet.skip(1)
    farm.say(b"a", "BUSY", stats())  # given back
    assert of(effects.ReadQueue, farm.say(b"b", "IDLE", stats())) == [effects.ReadQueue(0)]


def test_a_slave_that_vanishes_has_its_version_handed_out_again():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    farm.wait(299)
    assert not of(Publish, farm.tick())
    farm.wait(2)
    made = farm.tick()
    assert of(Publish, made)[0][:3] == (slave_id, farm.at, "DIE")
    assert of(ReleaseLease, made)
    farm.replace({"cp311": [("foo", "1.0")]})
    farm.build(b"b")
    # A lost slave of level 0 returns: DIE would end it; without a reply it sends HELLO again.
    assert farm.say(b"a", "BUSY", stats()) == []


def test_leases_of_an_earlier_master_hold_until_their_end():
    farm = Farm({"cp311": [("foo", "1.0")]})
    farm.join()
    farm.fleet.queue.take_leases({("foo", "1.0", target_for("cp311")): 60.0}, farm.seconds)
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "SLEEP"
    farm.replace({"cp311": [("foo", "1.0")]})
    farm.wait(61)
    assert replies(farm.say(b"a", "IDLE", stats()))[0].msg == "BUILD"


PENDING = [Pending("foo", "1.0", *target_for("cp311"))]


@pytest.mark.parametrize("seconds", [60, -3600])  # also if the lease has expired
def test_a_slave_that_lost_its_master_continues_its_build(seconds):
    farm = Farm({"cp311": []})
    farm.fleet.queue.take_leases({("foo", "1.0", target_for("cp311")): seconds}, farm.seconds)
    made = farm.say(b"a", "HELLO", hello(resume=("foo", "1.0")))
    slave_id = replies(made)[0].data[0]
    assert of(effects.AskPending, made) == [effects.AskPending(slave_id, "foo", "1.0")]
    assert of(GrantLease, made)
    assert farm.answer(slave_id, PENDING) == []
    assert Publish(slave_id, farm.at, "BUILD", ("foo", "1.0")) in made  # for the consoles
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]
    assert of(LogBuild, farm.say(b"a", "BUILT", built(status=False)))[0].slave_id == slave_id


def test_a_slave_that_reconnects_keeps_its_number_and_its_build():
    farm = Farm({"cp311": [("foo", "1.0")]})
    number = farm.build(b"a")
    farm.fleet.sleep(number)
    made = farm.say(b"b", "HELLO", hello(resume=("foo", "1.0")))
    assert "DIE" not in [published.msg for published in of(Publish, made)]
    assert not of(effects.AskPending, made)  # no other slave can have built it
    assert list(farm.fleet.by_number) == [number]
    assert replies(farm.say(b"b", "BUSY", stats())) == [Reply(b"b", "CONT")]
    farm.say(b"b", "BUILT", built(status=False))
    farm.answer(number, 1)
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", True)]


@pytest.mark.parametrize("answer", [[], [Pending("foo", "1.0", *target_for("cp312"))]])
def test_a_returning_slave_abandons_a_build_that_is_not_needed(answer):
    farm = Farm({"cp311": []})
    slave_id = farm.join(b"a", resume=("foo", "1.0"))
    made = farm.answer(slave_id, answer)
    assert of(ReleaseLease, made)
    assert "loses foo 1.0" in of(Warn, made)[0].text
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "DONE")]


@pytest.mark.parametrize("answer", [[], PENDING])
def test_a_returning_slave_has_its_finished_build_stored_if_it_is_needed(answer):
    farm = Farm({"cp311": []})
    slave_id = farm.join(b"a", resume=("foo", "1.0"))
    (ask,) = farm.say(b"a", "BUILT", built(file_state()))
    assert ask == effects.AskPending(slave_id, "foo", "1.0")
    assert not replies(farm.answer(slave_id, error=DatabaseError("away")))
    assert ask in farm.tick()
    made = farm.answer(slave_id, answer)
    if answer:
        assert effects.AskPublished(slave_id, "foo", "1.0") in made
    else:
        assert replies(made) == [Reply(b"a", "DONE")]


def two_builders(farm):
    """Let another slave get the version of one that was away for too long and returns."""
    farm.build(b"a", level=1, identity="one")
    farm.wait(301)
    farm.tick()
    second = farm.build(b"b", label="other", level=1, identity="two")
    first = farm.join(b"c", level=1, identity="one", resume=("foo", "1.0"))
    farm.answer(first, PENDING)
    assert replies(farm.say(b"c", "BUSY", stats())) == [Reply(b"c", "CONT")]
    assert replies(farm.say(b"b", "BUSY", stats())) == [Reply(b"b", "CONT")]
    return first, second


def store(farm, address, slave_id, began=None):
    """Have the build of a slave stored; return the effects of the commit."""
    if began is None:
        farm.say(address, "BUILT", built(file_state()))
    for result in (NOTHING, None):
        farm.answer(slave_id, result)
    farm.say(address, "SENT")
    farm.answer(slave_id, PLACED)
    return farm.answer(slave_id, 7)


@pytest.mark.parametrize("winner", [b"b", b"c"])
def test_the_first_valid_build_wins(winner):
    farm = Farm({"cp311": [("foo", "1.0")]})
    numbers = dict(zip((b"c", b"b"), two_builders(farm), strict=True))
    loser = b"c" if winner == b"b" else b"b"
    made = store(farm, winner, numbers[winner])
    assert replies(made) == [Reply(winner, "DONE")]
    assert PublishEnd(numbers[loser], None) in made
    assert replies(farm.say(loser, "BUSY", stats())) == [Reply(loser, "DONE")]
    farm.replace({"cp311": [("foo", "1.0")]})  # read before the commit
    assert replies(farm.say(loser, "IDLE", stats())) == [Reply(loser, "SLEEP", False)]


@pytest.mark.parametrize("stored", [True, False])
def test_a_second_finished_build_waits_for_its_turn(stored):
    farm = Farm({"cp311": [("foo", "1.0")]})
    first, second = two_builders(farm)
    farm.say(b"b", "BUILT", built(file_state()))
    assert farm.say(b"c", "BUILT", built(file_state())) == []
    if stored:
        made = store(farm, b"b", second, began=True)
        assert {(one.address, one.msg) for one in replies(made)} == {(b"b", "DONE"), (b"c", "DONE")}
        return
    made = farm.say(b"b", "BYE")
    assert effects.AskPublished(first, "foo", "1.0") in made
    assert not of(ReleaseLease, made)
    assert replies(store(farm, b"c", first, began=True)) == [Reply(b"c", "DONE")]


def test_a_failure_does_not_count_while_another_slave_builds_the_version():
    farm = Farm({"cp311": [("foo", "1.0")]})
    first, second = two_builders(farm)
    made = farm.say(b"c", "BUILT", built(status=False))
    assert (replies(made), of(LogBuild, made)) == ([Reply(b"c", "DONE")], [])
    farm.say(b"b", "BUILT", built(status=False))
    assert replies(farm.answer(second, 7)) == [Reply(b"b", "DONE")]
    assert first != second


@pytest.mark.parametrize("back", [True, False])
def test_a_lost_connection_frees_the_version_after_a_minute(back):
    farm = Farm({"cp311": [("foo", "1.0")]})
    number = farm.build(b"a", level=1, identity="one")
    farm.fleet.disconnected(b"a", farm.instant)
    farm.wait(59)
    assert not of(Warn, farm.tick())
    if back:
        assert farm.join(b"b", level=1, identity="one", resume=("foo", "1.0")) == number
    farm.wait(2)
    made = farm.tick()
    assert bool(of(ReleaseLease, made)) != back
    assert (["its connection is lost" in one.text for one in of(Warn, made)] == [True]) != back
    farm.join(b"c", label="other")
    assert replies(farm.say(b"c", "IDLE", stats()))[0].msg == ("SLEEP" if back else "BUILD")


def test_a_request_proves_that_the_connection_is_not_lost():
    farm = Farm()
    farm.build(b"a")
    farm.fleet.disconnected(b"a", farm.instant)
    farm.fleet.disconnected(b"stranger", farm.instant)
    farm.say(b"a", "BUSY", stats())
    farm.wait(100)
    assert not of(Warn, farm.tick())


def test_the_minute_begins_with_the_last_connection_that_is_lost():
    farm = Farm()
    farm.build(b"a", level=1, identity="one")
    for _ in range(3):  # it waits for a reply all the time, so no request follows
        farm.fleet.disconnected(b"a", farm.instant)
        farm.wait(50)
        assert not of(Warn, farm.tick())
    farm.wait(11)
    assert of(Warn, farm.tick())


def test_a_slave_that_returns_without_its_build_frees_the_version_at_once():
    farm = Farm({"cp311": [("foo", "1.0")]})
    farm.build(b"a", level=1, identity="one")
    farm.fleet.disconnected(b"a", farm.instant)
    farm.join(b"b", level=1, identity="one")  # it was restarted
    farm.join(b"c", label="other")
    assert replies(farm.say(b"c", "IDLE", stats())) == [Reply(b"c", "BUILD", ("foo", "1.0"))]


def test_an_idle_slave_that_reconnects_keeps_its_number_and_the_commands():
    farm = Farm()
    number = farm.join(b"a", level=1, identity="one")
    farm.fleet.sleep(number)
    farm.fleet.disconnected(b"a", farm.instant)
    assert farm.join(b"b", level=1, identity="one") == number
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", True)]
    phases = [one.state for one in farm.fleet.history(number)]
    assert phases == ["idle", "gone", "idle", "asleep"]


def test_a_session_keeps_its_platform():
    farm = Farm()
    number = farm.join(b"a", level=1, identity="one")
    farm.fleet.disconnected(b"a", farm.instant)
    assert farm.join(b"b", level=1, identity="one", platform="linux_armv7l") != number


@pytest.mark.parametrize("identities", [("one", "two"), ("one", "one"), ("", "")])
def test_two_slaves_with_one_label_both_build_and_the_log_says_so(identities):
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2")]})
    about = [{"level": 1, "identity": each} if each else {} for each in identities]
    first, second = (
        farm.build(address, **each) for address, each in zip((b"a", b"b"), about, strict=True)
    )
    warned = []
    for _ in range(5):
        farm.wait(9)
        for address in (b"a", b"b"):
            assert replies(farm.say(address, "BUSY", stats())) == [Reply(address, "CONT")]
        warned += of(Warn, farm.tick())
    assert [(one.slave_id, one.label) for one in warned] == [(second, "board")]  # once
    assert f"of slave {first}" in warned[0].text
    assert ("delete slave.id" in warned[0].text) == (identities == ("one", "one"))


def test_a_slave_that_reconnects_is_no_duplicate_of_itself():
    farm = Farm({"cp311": []})
    farm.join(b"a")
    farm.wait(5)
    farm.join(b"b")
    for _ in range(5):
        farm.wait(9)
        farm.say(b"b", "IDLE", stats())
        assert not of(Warn, farm.tick())


def test_slaves_of_one_label_keep_apart_when_one_returns():
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2")]})
    farm.build(b"a", level=1, identity="one")
    second = farm.build(b"b", level=1, identity="two")
    farm.fleet.disconnected(b"b", farm.instant)
    assert farm.join(b"c", level=1, identity="two", resume=("bar", "2")) == second
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]
    assert replies(farm.say(b"c", "BUSY", stats())) == [Reply(b"c", "CONT")]


@pytest.mark.parametrize("lost", ["a build", "a transfer"])
def test_a_slave_that_was_declared_dead_keeps_its_build(lost):
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2")]})
    slave_id = farm.build(b"a", level=1)
    if lost == "a transfer":
        farm.say(b"a", "BUILT", built(file_state()))
        farm.answer(slave_id, NOTHING)
        farm.answer(slave_id)
    farm.wait(301)
    assert "declared dead" in of(Warn, farm.tick())[0].text
    # It returns at its old address, or at a new one after it lost its connection.
    assert farm.say(LEVEL_1_ID + b"a", "BUSY", stats()) == [Reply(LEVEL_1_ID + b"a", "HELLO")]
    farm.join(LEVEL_1_ID + b"b", resume=("foo", "1.0"))
    made = farm.say(LEVEL_1_ID + b"b", "BUSY", stats())
    assert replies(made) == [Reply(LEVEL_1_ID + b"b", "CONT")]
    # No other slave gets its version.
    farm.join(b"c")
    assert replies(farm.say(b"c", "IDLE", stats())) == [Reply(b"c", "BUILD", ("bar", "2"))]


@pytest.mark.parametrize("when", ["expect", "sent", "verify", "again", "log", "logged"])
def test_a_slave_that_reconnects_in_mid_intake_continues_it(when):
    """It gets the reply that it missed, and sends nothing twice."""
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build(b"a", level=1, identity="one")
    farm.say(b"a", "BUILT", built(file_state()))
    farm.answer(slave_id, NOTHING)
    if when != "expect":
        farm.answer(slave_id)
    if when not in ("expect", "sent"):
        farm.say(b"a", "SENT")
    if when == "again":
        assert of(effects.Expect, farm.answer(slave_id, error=Refused("BADHASH", "no")))
    if when in ("log", "logged"):
        farm.answer(slave_id, PLACED)
    assert farm.join(b"b", level=1, identity="one", resume=("foo", "1.0")) == slave_id
    assert replies(farm.say(b"b", "BUSY", stats())) == [Reply(b"b", "CONT")]
    if when == "logged":
        farm.answer(slave_id, 7)
    made = farm.say(b"b", "BUILT", built(file_state()))
    if when == "logged":
        assert replies(made) == [Reply(b"b", "DONE")]
        return
    if when in ("expect", "again"):
        made = farm.answer(slave_id)
    if when not in ("verify", "log"):
        assert replies(made) == [Reply(b"b", "SEND", PLACED["filename"])]
        made = farm.say(b"b", "SENT")
        assert made == [effects.Verify(slave_id, "foo")]
    if when != "log":
        assert of(LogBuild, farm.answer(slave_id, PLACED))
    assert replies(farm.answer(slave_id, 7)) == [Reply(b"b", "DONE")]


def test_a_slave_that_dropped_its_build_waits_until_it_is_stored():
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2")]})
    slave_id = farm.build(b"a", level=1, identity="one")
    (log,) = farm.say(b"a", "BUILT", built(status=False))
    farm.join(b"b", level=1, identity="one", resume=("foo", "1.0"))
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", False)]
    assert of(BuildStored, farm.answer(slave_id, 7))[0].build is log.build
    assert replies(farm.say(b"b", "IDLE", stats()))[0].data == ("bar", "2")


@pytest.mark.parametrize("msg", ["IDLE", "BUSY", "BUILT", "SENT", "OUTPUT"])
def test_an_unknown_slave_is_greeted_again(msg):
    farm = Farm()
    assert farm.say(LEVEL_1_ID + b"x", msg) == [Reply(LEVEL_1_ID + b"x", "HELLO")]
    assert farm.say(b"old", msg) == []  # it sends HELLO after its own time-out


def test_an_unknown_slave_may_leave():
    farm = Farm()
    assert farm.say(LEVEL_1_ID + b"x", "BYE") == farm.say(b"old", "BYE") == []


def test_only_an_operator_ends_a_slave_of_level_1(monkeypatch):
    farm, one = Farm(), LEVEL_1_ID + b"a"
    farm.join(one, level=1)
    made = farm.say(one, "SENT")
    assert [(reply.msg, "SENT" in reply.data) for reply in replies(made)] == [("REFUSED", True)]
    monkeypatch.setattr("piwheels.master.logic.fleet.MAX_SLAVES", 0)
    (reply,) = replies(farm.say(one, "HELLO", hello(level=1)))
    assert (reply.msg, "already" in reply.data) == ("REFUSED", True)
    assert replies(farm.say(b"c", "HELLO", hello())) == []  # it tries again after its time-out
    made = farm.fleet.protocol_error(LEVEL_1_ID, "bad HELLO", farm.instant)
    assert made == [Reply(LEVEL_1_ID, "REFUSED", "bad HELLO")]
    monkeypatch.undo()
    farm.fleet.kill(farm.join(one, level=1))
    assert replies(farm.say(one, "IDLE", stats())) == [Reply(one, "DIE")]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_wall_clock_changes_nothing(step):
    farm = Farm({"cp311": [("foo", "1.0"), ("leased", "1"), ("bar", "2")]})
    farm.fleet.queue.take_leases({("leased", "1", target_for("cp311")): 60.0}, farm.seconds)
    builder, sender = farm.build(b"a", build=60, busy=10), farm.build(b"b", build=60, busy=10)
    assert farm.fleet.by_number[sender].build.package == "bar"  # the other one is leased
    farm.say(b"b", "BUILT", built(file_state("bar-2-py3-none-any.whl")))
    farm.answer(sender, NOTHING)
    farm.answer(sender)
    farm.at += step
    assert [type(effect) for effect in farm.tick()] == [RenewLeases]
    assert list(farm.fleet.by_number) == [builder, sender]
    farm.replace({"cp311": [("leased", "1")]})
    farm.join(b"c")
    assert replies(farm.say(b"c", "IDLE", stats())) == [Reply(b"c", "SLEEP", False)]
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]
    assert farm.say(b"b", "SENT") == [effects.Verify(sender, "bar")]
    placed = {**PLACED, "filename": "bar-2-py3-none-any.whl"}
    assert of(LogBuild, farm.answer(sender, placed))
    farm.fleet.skip(builder)
    (ended,) = of(PublishEnd, farm.say(b"a", "BUSY", stats()))
    assert ended.outcome.duration == timedelta(0)
    farm.wait(60)
    farm.replace({"cp311": [("leased", "1")]})
    farm.build(b"d")  # the lease is over


def test_a_master_that_was_suspended_declares_no_slave_dead(monkeypatch):
    reading = [1000.0]
    monkeypatch.setattr("piwheels.core.clock.time.monotonic", lambda: reading[0])
    clock, farm = Clock(), Farm()
    farm.seconds = clock.monotonic()
    farm.build(b"a", busy=10)
    reading[0] += 3600  # and the clock was not read meanwhile
    farm.seconds, farm.at = clock.monotonic(), farm.at + timedelta(hours=1)
    assert not of(Warn, farm.tick())
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "CONT")]
    for _ in range(11):
        reading[0] += 1
        farm.seconds = clock.monotonic()
    assert of(Warn, farm.tick())


def test_a_slave_has_a_history_of_its_transitions():
    farm = Farm()
    slave_id = farm.build(b"a", level=1)
    for _ in range(3):
        farm.wait(1)
        farm.say(b"a", "BUSY", stats())
    assert [(one.state, one.cause) for one in farm.fleet.history(slave_id)] == [
        ("idle", "HELLO: ACK"),
        ("building", "IDLE: BUILD foo 1.0"),
    ]
    farm.wait(1)
    farm.say(b"a", "BUILT", built(file_state()))
    assert farm.fleet.history(slave_id)[-1] == (farm.at, "checking", "BUILT")
    farm.answer(slave_id, NOTHING)
    made = farm.answer(slave_id, error=Refused("NOROOM", "disk full"))
    (warning,) = of(Warn, made)
    assert [one.state for one in warning.history] == ["idle", "building", "checking"]
    assert str(warning.history[0]) == "12:00:00 idle (HELLO: ACK)"
    made = farm.say(b"a", "SENT")
    assert [one.state for one in of(Warn, made)[0].history][-1] == "checking"
    with pytest.raises(Refused, match="no slave"):
        farm.fleet.history(slave_id)


def test_a_history_has_a_limit():
    farm = Farm()
    slave_id = farm.join(b"a")
    for _ in range(HISTORY):
        farm.replace({"cp311": [("foo", "1.0")]})
        farm.say(b"a", "IDLE", stats())
        farm.fleet.skip(slave_id)
        farm.say(b"a", "BUSY", stats())
        farm.wait(RETRY)
    assert len(farm.fleet.history(slave_id)) == HISTORY


def test_a_forbidden_reply_or_transition_is_a_bug():
    farm = Farm()
    farm.join(b"a")
    slave = farm.fleet.slaves[b"a"]
    with pytest.raises(AssertionError, match="CONT is no reply"):
        answer(slave, "CONT", NoData, farm.instant)  # it was answered
    slave.replies = slave_conversation.replies(Phase.IDLE, "IDLE", 0)
    for msg in ("CONT", "REFUSED", "HELLO"):
        with pytest.raises(AssertionError, match="is no reply to"):
            answer(slave, msg, NoData, farm.instant)
    with pytest.raises(AssertionError, match="idle to sending"):
        move(slave, Phase.SENDING, "a bug", farm.instant)


def test_a_slave_has_its_build_and_its_transfer():
    farm = Farm()
    slave_id = farm.join(b"a")
    slave = farm.fleet.by_number[slave_id]
    assert slave.build is slave.transfer is None
    farm.say(b"a", "IDLE", stats())
    assert (slave.build.package, slave.build.version, slave.build.abi_tag) == (
        "foo",
        "1.0",
        "cp311",
    )
    farm.say(b"a", "BUILT", built(file_state()))
    farm.answer(slave_id, NOTHING)
    assert (slave.build.status, slave.build.output, slave.transfer) == (True, "log\n", None)
    farm.answer(slave_id)
    assert slave.transfer.file_state is slave.build.files[PLACED["filename"]]
    farm.say(b"a", "SENT")
    farm.answer(slave_id, PLACED)
    assert slave.transfer is None
    farm.answer(slave_id, 1)
    assert slave.build is None


def test_a_message_out_of_order_ends_the_session():
    farm = Farm()
    farm.build()
    made = farm.say(b"a", "IDLE", stats())
    assert replies(made) == []  # DIE would end a slave of level 0 for good
    assert of(Warn, made)
    assert of(ReleaseLease, made)
    assert not farm.fleet.slaves


def test_commands_of_operators():
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


def test_a_version_in_progress_does_not_wait():
    jobs = {"cp311": [("foo", "1"), ("bar", "1")]}
    farm = Farm(jobs)
    farm.build(b"a")
    farm.replace(jobs)  # read before it was handed out
    waiting = farm.fleet.queue.waiting(target_for("cp311"), 10)
    assert [row.package for row in waiting] == ["bar"]
    assert farm.fleet.queue.waiting(target_for("cp312"), 10) == []
    assert farm.fleet.queue.by_abi(10) == {"cp311": (2, [("bar", "1")]), "any": (0, [])}


def test_a_skipped_version_waits_a_while():
    jobs = {"cp311": [("hangs", "1"), ("next", "1")]}
    farm = Farm(jobs)
    slave_id = farm.build(b"a")
    farm.fleet.skip(slave_id)
    farm.say(b"a", "BUSY", stats())
    farm.replace(jobs)  # the database has it in its first place again
    assert replies(farm.say(b"a", "IDLE", stats())) == [Reply(b"a", "BUILD", ("next", "1"))]
    farm.join(b"b")
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "SLEEP", False)]
    farm.wait(RETRY)
    farm.replace(jobs)
    assert replies(farm.say(b"b", "IDLE", stats())) == [Reply(b"b", "BUILD", ("hangs", "1"))]


def test_wake_withdraws_commands_not_carried_out():
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


def test_builds_of_deleted_packages_are_abandoned():
    farm = Farm({"cp311": [("foo", "1.0"), ("foo", "2.0"), ("bar", "2")]})
    farm.build()
    farm.fleet.delete("foo", None)
    farm.replace({"cp311": [("foo", "2.0"), ("bar", "2")]})
    assert replies(farm.say(b"a", "BUSY", stats())) == [Reply(b"a", "DONE")]
    assert replies(farm.say(b"a", "IDLE", stats())) == [Reply(b"a", "BUILD", ("bar", "2"))]


def test_a_build_that_never_ends_is_ended():
    farm = Farm()
    slave_id = farm.build(build=100)
    farm.wait(200)
    (log,) = of(LogBuild, farm.say(b"a", "BUSY", stats()))
    assert "time-out" in log.build.output
    assert replies(farm.answer(slave_id, 1)) == [Reply(b"a", "DONE")]


def test_an_invalid_report_is_a_failed_build_and_not_the_end_of_each_slave():
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2")]})
    slave_id = farm.build()
    made = farm.fleet.invalid(b"a", "BUILT", "bad BUILT: a name is too long", farm.instant)
    (log,) = of(LogBuild, made)
    assert "a name is too long" in log.build.output
    assert replies(farm.answer(slave_id, 7)) == [Reply(b"a", "DONE")]
    assert farm.fleet.invalid(b"b", "BUILT", "bad", farm.instant) == []
    assert (
        "broke the protocol"
        in of(Warn, farm.fleet.invalid(b"a", "IDLE", "bad", farm.instant))[0].text
    )


def test_a_fault_of_ours_in_an_intake_is_a_failed_build_and_not_one_for_each_slave():
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2")]})
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    made = farm.fleet.fault(slave_id, "a fault of piwheels: KeyError", farm.instant)
    (log,) = of(LogBuild, made)
    assert (log.build.status, log.build.files) == (False, {})
    assert "piwheels: a fault of piwheels: KeyError" in log.build.output
    assert any("failed: a fault of piwheels: KeyError" in each.text for each in of(Warn, made))
    assert replies(farm.answer(slave_id, 7)) == [Reply(b"a", "DONE")]
    farm.fleet.validate()


def test_a_build_that_cannot_even_be_stored_as_failed_waits_longer_each_time():
    farm = Farm({"cp311": [("foo", "1.0")]})
    waits = []
    slave_id = farm.build()
    for _ in range(3):
        farm.say(b"a", "BUILT", built(status=False))
        farm.fleet.fault(slave_id, "KeyError", farm.instant)
        made = farm.fleet.fault(slave_id, "KeyError", farm.instant)
        assert "is put off: KeyError" in of(Warn, made)[0].text
        assert of(ReleaseLease, made)
        assert replies(made) == [Reply(b"a", "DONE")]
        farm.fleet.validate()
        waits.append(0)
        while not of(GrantLease, farm.say(b"a", "IDLE", stats())):
            farm.wait(RETRY / 2)
            farm.replace({"cp311": [("foo", "1.0")]})
            farm.tick()
            waits[-1] += 1
    assert waits == [2, 4, 8]


@pytest.mark.parametrize("msg", ["BUILT", "SENT"])
def test_a_fault_of_ours_at_a_message_about_a_finished_build_does_not_free_the_version(msg):
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    if msg == "SENT":
        farm.answer(slave_id, NOTHING)
        farm.answer(slave_id)
        farm.say(b"a", "SENT")
    made = farm.fleet.failed_at(b"a", msg, "KeyError", farm.instant)
    assert of(LogBuild, made)[0].build.status is False
    assert b"a" in farm.fleet.slaves


def test_leases_are_renewed_while_slaves_live():
    farm = Farm()
    farm.build()
    (renew,) = of(RenewLeases, farm.tick())
    assert renew == RenewLeases([("foo", "1.0", target_for("cp311"))], timedelta(seconds=300))


def test_a_replay_includes_a_running_transfer():
    farm = Farm()
    slave_id = farm.build()
    began = farm.at
    farm.wait(60)
    farm.say(b"a", "BUILT", built(file_state()))
    for _ in range(2):  # before the first reply to it, and after
        replay = farm.fleet.replay(0, 1000)
        assert (replay[2].timestamp, replay[2].msg, replay[2].data) == (
            began,
            "BUILD",
            ("foo", "1.0"),
        )
        farm.answer(slave_id, NOTHING)
        farm.answer(slave_id)
    assert [event.msg for event in replay[3:]] == ["SEND"]


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


@pytest.mark.parametrize(("slaves", "each"), [(1, 100), (150, 100), (500, 30), (10_000, 1)])
def test_a_replay_is_smaller_than_the_high_water_mark(slaves, each):
    farm = Farm({})
    for number in range(slaves):
        slave = SlaveState(b"%d" % number, *hello(), slave_id=number + 1, first_seen=START)
        slave.stats.extend([(START, stats())] * 100)
        slave.reply, slave.replied_at = ("SLEEP", False), START
        farm.fleet.slaves[slave.address] = farm.fleet.by_number[number + 1] = slave
    replay = farm.fleet.replay(0, 10**6)
    assert len(replay) == slaves * (each + 2) < 100_000


def test_the_outcome_of_a_build_is_published():
    farm = Farm({"cp311": [("foo", "1.0"), ("bar", "2"), ("baz", "3")]})
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(file_state()))
    for result in (NOTHING, None):
        farm.answer(slave_id, result)
    farm.say(b"a", "SENT")
    assert not of(PublishEnd, farm.answer(slave_id, PLACED))
    farm.say(b"a", "BYE")
    took = timedelta(seconds=5)
    ok = BuildOutcome(
        7, slave_id, "board", "foo", "1.0", "cp311", "ok", took, 1, farm.at, platform="linux_x86_64"
    )
    assert of(PublishEnd, farm.answer(slave_id, 7)) == [PublishEnd(slave_id, ok)]

    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    failed = BuildOutcome(
        8, slave_id, "board", "bar", "2", "cp311", "failed", took, 0, farm.at, again=True,
        platform="linux_x86_64", reason="unknown",
    )  # fmt: skip
    assert of(PublishEnd, farm.answer(slave_id, 8)) == [PublishEnd(slave_id, failed)]

    farm.say(b"a", "IDLE", stats())
    farm.wait(took.total_seconds())
    farm.fleet.skip(slave_id)
    skipped = BuildOutcome(
        None, slave_id, "board", "baz", "3", "cp311", "skipped", took, 0, farm.at
    )
    assert of(PublishEnd, farm.say(b"a", "BUSY", stats())) == [PublishEnd(slave_id, skipped)]


def test_a_build_that_is_not_stored_has_no_outcome():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build()
    assert of(PublishEnd, farm.say(b"a", "BYE")) == [PublishEnd(slave_id, None)]
    slave_id = farm.build()
    farm.say(b"a", "BUILT", built(status=False))
    assert of(PublishEnd, farm.answer(slave_id, error=Refused("NOVER"))) == [
        PublishEnd(slave_id, None)
    ]


def test_output_is_published_and_is_a_heartbeat():
    farm = Farm({"cp311": [("foo", "1.0")]})
    slave_id = farm.build(level=1, busy=10)
    for seconds in range(0, 60, 9):
        made = farm.say(b"a", "OUTPUT", SlaveOutput(seconds, "text"))
        assert made == [PublishOutput(slave_id, "foo", "1.0", seconds, "text"), Reply(b"a", "CONT")]
        farm.wait(9)
        farm.tick()
    farm.fleet.skip(slave_id)
    made = farm.say(b"a", "OUTPUT", SlaveOutput(60, "text"))
    assert (replies(made), of(PublishOutput, made)) == ([Reply(b"a", "DONE")], [])


@pytest.mark.parametrize("level", [0, True, "1", None, -1])
def test_a_slave_of_level_0_may_not_send_output(level):
    farm = Farm()
    farm.build(level=level)
    assert replies(farm.say(b"a", "OUTPUT", SlaveOutput(0, "text"))) == []
    assert not farm.fleet.slaves


def test_a_command_returns_the_slaves_that_reject_it():
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


def test_a_replay_has_the_time_since_which_a_slave_sleeps():
    farm = Farm({"cp311": []})
    farm.join(b"a")
    farm.say(b"a", "IDLE", stats())
    began = farm.at
    for _ in range(3):
        farm.wait(10)
        farm.say(b"a", "IDLE", stats())
    assert farm.fleet.replay(0, 1000)[-1][1:] == (began, "SLEEP", False)
    farm.fleet.sleep(None)
    farm.say(b"a", "IDLE", stats())
    assert farm.fleet.replay(0, 1000)[-1][1:] == (farm.at, "SLEEP", True)


def test_a_replay_has_the_begin_of_a_build():
    farm = Farm()
    farm.build()
    began = farm.at
    farm.wait(60)
    farm.say(b"a", "BUSY", stats(farm.at + timedelta(days=3)))  # its clock is wrong
    replay = farm.fleet.replay(0, 1000)
    assert [event.msg for event in replay] == ["HELLO", "STATS", "STATS", "BUILD"]
    assert replay[2].timestamp == farm.at
    assert replay[-1].timestamp == began


def test_a_slave_in_transfer_may_be_silent_for_longer():
    farm = Farm()
    slave_id = farm.build(busy=10)
    big = file_state()
    big[1] = MIN_RATE * 100
    farm.say(b"a", "BUILT", built(big))
    farm.answer(slave_id, NOTHING)
    farm.answer(slave_id)
    farm.wait(100)
    assert not of(Publish, farm.tick())
    farm.wait(20)
    assert of(Publish, farm.tick())


class Anything(RuleBasedStateMachine):
    """Slaves, tasks and operators do what the protocol allows (and a little more) in any order."""

    addresses = Bundle("addresses")

    def __init__(self):
        super().__init__()
        self.seconds, self.at = 0.0, START
        self.fleet = Fleet("url", chance=lambda: 1.0)
        self.asked = []
        #: The request of each slave that waits for a reply, with its phase and level then.
        self.waiting = {}

    @property
    def instant(self):
        return Instant(self.seconds, self.at)

    def say(self, address, msg, data):
        slave = self.fleet.slaves.get(address)
        if slave is None or slave.phase is not Phase.CHECKING:
            # After HELLO it is *returning* if it has a build to resume.
            phase = slave.phase if slave else None
            self.waiting[address] = msg, phase, slave.level if slave else None
        self.take(request(self.fleet, address, msg, data, self.instant))

    def take(self, made):
        for effect in made:
            match effect:
                case Reply(address, msg, data):
                    reversed(slave_driver).received(msg, data)
                    self.check_reply(address, msg, *self.waiting.pop(address))
                case (
                    effects.AskPending()
                    | effects.AskPublished()
                    | effects.Expect()
                    | effects.Verify()
                    | LogBuild()
                ):
                    self.asked.append((effect, self.fleet.intakes.get(effect.slave_id)))
                case _:
                    pass

    def check_reply(self, address, msg, asked, phase, level):
        """Check that *msg* may be the reply to the request *asked*, by the table alone."""
        if phase is None:
            phases = [Phase.NEW, Phase.RETURNING] if asked == "HELLO" else []
            may = {msg for one in phases for msg in slave_conversation.replies(one, asked)}
            assert msg in (may - {"DIE"}) | {"HELLO", "REFUSED"}
        elif asked in slave_conversation.requests(phase, level):
            assert msg in slave_conversation.replies(phase, asked, level)
        else:
            assert (msg, address.startswith(LEVEL_1_ID)) == ("REFUSED", True)

    @rule(
        target=addresses,
        n=st.integers(0, 5),
        abi=st.sampled_from(["cp311", "cp313"]),
        resume=st.booleans(),
        identity=st.sampled_from(["", "x", "y"]),
    )
    def join(self, n, abi, resume, identity):
        address = b"%s%d" % (LEVEL_1_ID if n % 2 else b"", n)
        about = {"resume": ("foo", "1.0")} if resume else {"level": n % 2}
        if identity:
            about["identity"] = identity
        if address not in self.fleet.slaves:
            self.say(address, "HELLO", hello(f"l{n % 2}", abi, **about))
        return address

    @rule(address=addresses, data=st.data())
    def send(self, address, data):
        slave = self.fleet.slaves.get(address)
        phase = slave.phase if slave else Phase.BUILDING
        may = sorted(slave_conversation.requests(phase, slave.level if slave else 1))
        msg = data.draw(st.sampled_from([*may, *may, "IDLE", "SENT", "OUTPUT"]))
        names = [
            "foo-1.0-cp311-cp311-linux_x86_64.whl",
            "foo-1.0-py3-none-any.whl",
            "evil-1-py3-none-any.whl",
        ]
        files = [file_state(n) for n in data.draw(st.lists(st.sampled_from(names), max_size=2))]
        payload = {"BUILT": built(*files, status=data.draw(st.booleans()))}.get(msg, NoData)
        if msg in ("IDLE", "BUSY"):
            payload = stats(self.at)
        if msg == "OUTPUT":
            payload = SlaveOutput(data.draw(st.integers(0, 9)), "text")
        if msg == "HELLO":
            payload = hello()
        self.say(address, msg, payload)
        if msg == "BYE":
            self.waiting.pop(address, None)

    @rule(data=st.data())
    def answer(self, data):
        if not self.asked:
            return
        effect, intake = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        if self.fleet.intakes.get(effect.slave_id) is not intake:
            return  # as SlaveDriver does
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
            case effects.AskPending(_, package, version):
                abis = data.draw(st.sampled_from([[], ["cp311"], ["cp313"]]))
                result = [Pending(package, version, *target_for(abi)) for abi in abis]
            case effects.AskPublished():
                hash_ = data.draw(st.sampled_from([HASH, "b" * 64]))
                result = Published({PLACED["filename"]: hash_}, {})
            case effects.Verify():
                result = PLACED
            case LogBuild():
                result = 1
        result = result if error is None else None
        self.take(self.fleet.answered(effect.slave_id, result, error, self.instant))

    @rule(
        jobs=st.lists(st.sampled_from([("foo", "1.0"), ("foo", "2.0"), ("bar", "1")]), unique=True)
    )
    def queue(self, jobs):
        queues = {"cp311": jobs, "cp313": jobs}
        targets = [target_for(abi) for abi in queues]
        self.fleet.queue.replace(targets, rows_of(queues), self.instant)

    @rule(seconds=st.sampled_from([1, 100, 1000, 5000]))
    def wait(self, seconds):
        self.seconds += seconds
        self.at += timedelta(seconds=seconds)
        self.take(self.fleet.tick(self.instant))

    @rule(address=addresses)
    def send_an_invalid_report(self, address):
        slave = self.fleet.slaves.get(address)
        if slave is not None and slave.phase is Phase.CHECKING:
            return
        self.waiting[address] = "BUILT", slave and slave.phase, slave and slave.level
        self.take(self.fleet.invalid(address, "BUILT", "bad BUILT", self.instant))

    @rule(address=addresses)
    def cut(self, address):
        self.fleet.disconnected(address, self.instant)

    @rule(step=st.sampled_from(STEPS))
    def step_the_wall_clock(self, step):
        before = dict(self.fleet.slaves)
        self.at = max(self.at + step, START)
        self.take(self.fleet.tick(self.instant))
        heard = {a: s for a, s in before.items() if s.phase is not Phase.GONE}
        assert self.fleet.slaves == heard

    @rule(n=st.none() | st.integers(0, 5), what=st.sampled_from(["kill", "skip", "sleep", "wake"]))
    def operate(self, n, what):
        getattr(self.fleet, what)(n)

    @rule()
    def learn_leases(self):
        self.fleet.queue.take_leases({("foo", "1.0", target_for("cp311")): 100.0}, self.seconds)

    @rule(version=st.sampled_from([None, "1.0"]))
    def delete(self, version):
        self.fleet.delete("foo", version)

    @rule()
    def replay_in_parts(self):
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
        rejected = {one.slave_id for one in self.fleet.command(verb, ids)}
        assert rejected.issuperset(set(ids or ()) - set(self.fleet.by_number))

    @invariant()
    def invariants_hold(self):
        self.fleet.validate()
        for slave in self.fleet.slaves.values():
            phases = [Phase(one.state) for one in slave.history]
            assert set(pairwise(phases)) <= TRANSITIONS
            # A slave waits for a reply if and only if the master has to answer it.
            assert (slave.address in self.waiting) == (slave.phase is Phase.CHECKING)


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_bad_wheel_names_are_not_published():
    with pytest.raises(BadWheel):
        name_to_publish("foo.whl", HASH, {"foo.whl": "b" * 64})
