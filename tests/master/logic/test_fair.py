"""Owners share the farm: quotas, second opinions and quarantines, with a database in memory."""

import random
import sys
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from owned_farm import CLAIM, ERROR, Database, World
from piwheels.master.gate import KEYLESS
from piwheels.master.logic import quotas
from piwheels.master.logic.fitness import Builder
from piwheels.master.logic.fleet import MAX_SLAVES
from piwheels.master.logic.quotas import Quota
from slave_messages import failed, rows_of, stats, target_for

SMALL = Quota(slaves=3, greetings=20, leases=20, promised=100, row=12)


@pytest.fixture
def world():
    return World()


# Second opinions ------------------------------------------------------------------------------


def test_another_owner_gives_the_second_opinion_at_once(world):
    anna, ben = world.join("anna"), world.join("ben")
    assert world.work(anna, ERROR) == ("p0", "1")
    world.read_queue()
    versions = [world.work(anna, ERROR) for _ in range(5)]
    assert ("p0", "1") not in versions
    world.db.versions = world.db.versions[:6]
    world.read_queue()
    assert world.work(ben) == ("p0", "1")
    assert any(each.status for each in world.db.of(("p0", "1")))


def test_second_opinions_come_in_the_order_of_the_queue():
    world = World(versions=3)
    anna, ben = world.join("anna"), world.join("ben")
    world.work(anna, ERROR)
    world.read_queue()
    assert [world.work(ben)[0] for _ in range(3)] == ["p0", "p1", "p2"]


def test_a_lone_slave_confirms_its_failure_a_day_later():
    world = World(versions=1)
    anna = world.join("anna", busy=86_400)
    world.work(anna, ERROR)
    for hours, again in ((12, False), (13, True)):
        world.wait(3600 * hours)
        assert bool(world.work(anna, ERROR)) == again
        assert world.db.has_failed(("p0", "1")) == again


def test_a_certain_cause_needs_no_second_opinion():
    world = World(versions=1)
    world.work(world.join("anna"), CLAIM)
    assert world.db.has_failed(("p0", "1"))


def test_now_and_then_a_certain_cause_is_checked():
    world = World(versions=1, chance=lambda: 0.0)
    world.work(world.join("anna"), CLAIM)
    assert not world.db.has_failed(("p0", "1"))


def test_new_identities_do_not_push_a_slave_out_of_quarantine(world, monkeypatch):
    monkeypatch.setattr("piwheels.master.logic.fitness.MAX_RECORDS", 10)
    other = world.join("ben")
    while world.work(other):
        pass
    world.db = Database([(f"q{number}", "1") for number in range(100)])
    world.read_queue()
    first = world.join("eve", "one")
    for _ in range(10):
        world.work(first, ERROR)
    assert [each.identity for each in world.fleet.fitness.quarantines()] == ["one"]
    for number in range(30):
        world.work(world.join("eve", f"id {number}"), ERROR)
    assert "one" in {each.identity for each in world.fleet.fitness.quarantines()}
    assert len(world.fleet.fitness._records) <= 10


def test_a_slave_is_compared_with_those_of_its_abi(world):
    """Few packages support an old Python."""
    other = world.join("ben")
    while world.work(other):
        pass
    queues = {"cp39": [(f"q{number}", "1") for number in range(20)]}
    world.fleet.queue.replace([target_for("cp39")], rows_of(queues), world.instant)
    old = world.join("ben", "old", abi="cp39")
    assert all(world.work(old, ERROR) for _ in range(20))
    assert world.fleet.fitness.quarantines() == []


def test_to_confirm_the_failures_of_others_is_no_reason_for_a_quarantine(world):
    ben = world.join("ben")
    while world.work(ben):
        pass
    world.read_queue()
    anna = world.join("anna")
    assert [world.work(anna) is not None for _ in range(11)] == [*[True] * 10, False]
    assert world.fleet.fitness.quarantines() == []
    assert not world.db.pending()


def test_a_slave_may_not_confirm_its_failure_by_returning_with_the_build(world):
    anna = world.join("anna")
    world.work(anna, ERROR)
    world.say(anna, "BYE")
    again = world.join("anna", resume=("p0", "1"))
    assert world.say(again, "BUILT", failed(ERROR))[-1].msg == "DONE"
    assert len(world.db.of(("p0", "1"))) == 1


# Anything ---------------------------------------------------------------------------------------


class Fair(RuleBasedStateMachine):
    """Two honest owners, and a hostile one that fails, lies, hoards and takes any identity.

    - No owner exceeds a quota.
    - No failure of a builder in quarantine is stored.
    - In the end, every version is settled; those that can be built are, except what the hostile
      owner has failed for good before it was found out: by a claim, or on two days.
    """

    def __init__(self):
        super().__init__()
        self.before = quotas.KEY
        quotas.KEY = SMALL
        self.world = World(chance=random.Random(1).random)  # noqa: S311 (no secret)
        self.honest = dict.fromkeys(("anna", "ben"))
        self.hostile = []
        self.taken = []

    @rule(owner=st.sampled_from(["anna", "ben"]), builds=st.integers(1, 5))
    def build(self, owner, builds):
        if self.honest[owner] not in self.world.fleet.slaves:
            self.honest[owner] = self.world.join(owner, busy=86_400)
        self.world.read_queue()
        for _ in range(builds):
            if self.honest[owner] is not None:
                self.world.work(self.honest[owner])

    @rule(identity=st.sampled_from("xyz"))
    def greet(self, identity):
        address = self.world.join("eve", identity, busy=86_400)
        if address is not None:
            self.hostile.append(address)

    @rule(n=st.integers(0, 5), log=st.sampled_from([ERROR, CLAIM]), builds=st.integers(1, 15))
    def fail(self, n, log, builds):
        self.world.read_queue()
        for _ in range(builds if n < len(self.hostile) else 0):
            self.world.work(self.hostile[n], log)

    @rule(n=st.integers(0, 5))
    def hoard(self, n):
        for _ in range(25 if n < len(self.hostile) else 0):
            replies = self.world.say(self.hostile[n], "IDLE", stats(self.world.at))
            self.taken += [self.world.now for reply in replies if reply.msg == "BUILD"]

    @rule(n=st.integers(0, 5), how=st.sampled_from(["cut", "BYE"]))
    def leave(self, n, how):
        if n < len(self.hostile):
            address = self.hostile.pop(n)
            if how == "cut":
                self.world.fleet.disconnected(address, self.world.instant)
            else:
                self.world.say(address, "BYE")

    @rule(seconds=st.sampled_from([10, 70, 400, 4000, 90_000]))
    def wait(self, seconds):
        self.world.wait(seconds)

    @rule()
    def restart(self):
        self.world.restart()
        self.honest = dict.fromkeys(self.honest)
        self.hostile.clear()
        self.taken.clear()

    @invariant()
    def no_owner_exceeds_a_quota(self):
        for owner in ("anna", "ben", "eve"):
            assert self.world.fleet.connected(owner) <= SMALL.slaves
        assert sum(self.world.now - at < 60 for at in self.taken) <= SMALL.leases

    @invariant()
    def quarantined_slaves_make_nothing_final(self):
        held = {
            Builder(*each[:3]).owner
            for each in self.world.fleet.fitness.quarantines()
            if not each.identity
        }
        failures = [each for each in self.world.db.builds.values() if not each.status]
        assert not held.intersection(each.owner for each in failures)

    def teardown(self):
        quotas.KEY = self.before
        if sys.exc_info()[0] is not None:
            return
        self.world.wait(100)
        wrong = Counter(each.owner for one in self.world.wrong() for each in self.world.db.of(one))
        assert set(wrong) <= {"eve"}
        for owner in self.honest:
            self.honest[owner] = self.world.join(owner, "new", busy=86_400)
        for _ in range(30):
            self.world.wait(4000)
            self.world.work_honestly(self.honest.values())
        assert not self.world.db.pending()


TestFair = Fair.TestCase
TestFair.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_each_kind_of_owner_has_its_quota():
    owners = ("", f"{KEYLESS}192.0.2.1", "board7")
    assert [quotas.quota_of(owner) for owner in owners] == [
        quotas.LOCAL,
        quotas.ADDRESS,
        quotas.KEY,
    ]
    assert sum(each.slaves for each in (quotas.LOCAL, quotas.ADDRESS, quotas.KEY)) < MAX_SLAVES
