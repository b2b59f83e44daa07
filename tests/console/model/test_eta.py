"""The build queues, and estimates of their end."""

from datetime import timedelta

from piwheels.console.model.eta import total

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def queue(master, abi="cp311", **how):
    queues = {queue.abi: queue for queue in master.farm.queues(master.now, **how)}
    return queues[abi]


def pending(master, last_hour=None, **counts):
    master.now += SECOND
    master.send(master.master_stats(builds_pending=counts, builds_last_hour=last_hour or {}))


def test_queues_are_unknown_without_stats(master):
    assert master.farm.queues(master.now) == []
    assert master.farm.rate(master.now) == 0
    assert total([]).pending == 0


def test_slaves_of_a_queue_by_activity(master):
    for number in range(1, 6):
        master.hello(number)
    master.build(1)
    master.build(2)
    master.say(3, "SLEEP", data=False)
    master.say(4, "SLEEP", data=True)
    master.hello(6, abi="cp313")
    master.say(6, "DIE")
    pending(master, cp311=14, cp38=3)
    found = queue(master)
    assert (found.pending, found.slaves, found.busy, found.idle) == (14, 5, 2, 2)
    assert (found.eta, found.note, found.history) == (None, "", (14,))
    pending(master, cp311=12, cp38=3)
    assert queue(master).history == (14, 12)
    nobody = queue(master, "cp38")
    assert (nobody.slaves, nobody.eta, nobody.note) == (0, None, "NO SLAVE for this ABI")


def test_the_rate_is_that_of_the_last_15_minutes(master):
    master.hello(1)
    for _ in range(40):
        master.finish(1, took=59 * SECOND)
    pending(master, cp311=120)
    assert master.farm.rate(master.now) == 60
    assert queue(master).eta == 2 * HOUR
    assert queue(master, without=[1]).eta is None  # if its only slave were paused


def test_the_first_rate_is_the_master_s_count_of_the_last_hour(master):
    master.hello(1)
    master.say(1, "SLEEP", data=False)
    pending(master, {"cp311": 30, "cp39": 7}, cp311=15)
    assert master.farm.rate(master.now) == 37
    assert queue(master).eta == HOUR / 2
    master.wait(6 * MINUTE)  # long enough attached: there were no builds
    assert master.farm.rate(master.now) == 0


def test_builds_of_a_replay_count_from_the_first_one(master):
    master.past = True
    master.hello(1)
    for minutes in range(8, 0, -1):
        ended = master.there - minutes * MINUTE
        master.outcome(1, "ok", f"p{minutes}", build_id=minutes, ended=ended)
    pending(master, cp311=60)
    assert round(queue(master).per_hour) == 60


def test_a_paused_slave_reduces_the_rate(master):
    for number in range(1, 5):
        master.hello(number)
        master.build(number)
    pending(master, {"cp311": 40}, cp311=40)
    assert queue(master).eta == HOUR
    assert queue(master, without=[2, 3]).eta == 2 * HOUR


def test_a_queue_of_a_thousand_is_a_lower_bound(master):
    master.hello(1)
    pending(master, {"cp311": 100, "cp39": 10}, cp311=1000, cp39=999)
    master.hello(2, abi="cp39")
    assert queue(master).capped
    assert queue(master).note == "capped at 1,000: a lower bound"
    assert not queue(master, "cp39").capped
    everything = total(master.farm.queues(master.now))
    assert (everything.pending, everything.capped, everything.slaves) == (1999, True, 2)
    assert everything.eta == 99.9 * HOUR
    pending(master, {"cp311": 100}, cp311=10, cp38=1)
    assert total(master.farm.queues(master.now)).eta == HOUR / 10  # never for cp38
    pending(master, {"cp311": 100}, cp38=1)
    assert total(master.farm.queues(master.now)).eta is None


def test_failing_slaves_are_counted_separately(master):
    for number in range(1, 4):
        master.hello(number)
        master.build(number)
    master.wait(40 * SECOND)
    master.stats(1)
    master.stats(2)
    pending(master, {"cp311": 9}, cp311=9)
    assert queue(master).note == "STARVED: 1 of 3 silent/failing"
    master.wait(40 * SECOND)
    pending(master, {"cp311": 9}, cp311=9)
    assert (queue(master).failing, queue(master).eta) == (3, None)


def test_slaves_that_build_for_others_serve_the_abis_that_they_offer(master):
    master.hello(1, abi="cp313")
    pending(master, {"cp39": 6, "cp313": 4}, cp39=3, cp313=8, any=5)
    assert [queue(master, abi).eta for abi in ("cp39", "any")] == [None, HOUR / 2]
    assert queue(master, "any").note == "first builds, for any ABI"
    master.farm.offered = frozenset({"cp39", "cp313"})
    found = queue(master, "cp39")
    assert (found.slaves, found.eta) == (0, HOUR / 2)
    assert found.note == "its slaves build for others now"
    assert queue(master, "cp313").note == ""
