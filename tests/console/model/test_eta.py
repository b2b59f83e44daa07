"""What waits, and when it will be done."""

from datetime import timedelta

from piwheels.console.model.eta import total

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def queue(teller, abi="cp311", **how):
    queues = {queue.abi: queue for queue in teller.farm.queues(teller.now, **how)}
    return queues[abi]


def pending(teller, last_hour=None, **counts):
    teller.now += SECOND
    teller.tell(teller.master_stats(builds_pending=counts, builds_last_hour=last_hour or {}))


def test_nothing_is_known_yet(teller):
    assert teller.farm.queues(teller.now) == []
    assert teller.farm.rate(teller.now) == 0
    assert total([]).pending == 0


def test_who_works_on_a_queue(teller):
    for number in range(1, 6):
        teller.hello(number)
    teller.build(1)
    teller.build(2)
    teller.say(3, "SLEEP", data=False)
    teller.say(4, "SLEEP", data=True)
    teller.hello(6, abi="cp313")
    teller.say(6, "DIE")
    pending(teller, cp311=14, cp38=3)
    found = queue(teller)
    assert (found.pending, found.slaves, found.busy, found.idle) == (14, 5, 2, 2)
    assert (found.eta, found.note, found.history) == (None, "", (14,))
    pending(teller, cp311=12, cp38=3)
    assert queue(teller).history == (14, 12)
    nobody = queue(teller, "cp38")
    assert (nobody.slaves, nobody.eta, nobody.note) == (0, None, "NO SLAVE for this ABI")


def test_the_rate_is_that_of_the_last_quarter_of_an_hour(teller):
    teller.hello(1)
    for _ in range(40):
        teller.finish(1, took=59 * SECOND)
    pending(teller, cp311=120)
    assert teller.farm.rate(teller.now) == 60
    assert queue(teller).eta == 2 * HOUR
    assert queue(teller, without=[1]).eta is None  # if its only slave were paused


def test_the_master_knows_of_the_hour_before_we_came(teller):
    teller.hello(1)
    teller.say(1, "SLEEP", data=False)
    pending(teller, {"cp311": 30, "cp39": 7}, cp311=15)
    assert teller.farm.rate(teller.now) == 37
    assert queue(teller).eta == HOUR / 2
    teller.wait(6 * MINUTE)  # by now we have seen enough, and that was nothing
    assert teller.farm.rate(teller.now) == 0


def test_builds_that_the_master_tells_of_count_from_the_first_of_them(teller):
    teller.past = True
    teller.hello(1)
    for minutes in range(8, 0, -1):
        ended = teller.there - minutes * MINUTE
        teller.outcome(1, "ok", f"p{minutes}", build_id=minutes, ended=ended)
    pending(teller, cp311=60)
    assert round(queue(teller).per_hour) == 60


def test_a_pause_takes_its_share_away(teller):
    for number in range(1, 5):
        teller.hello(number)
        teller.build(number)
    pending(teller, {"cp311": 40}, cp311=40)
    assert queue(teller).eta == HOUR
    assert queue(teller, without=[2, 3]).eta == 2 * HOUR


def test_a_thousand_may_be_more(teller):
    teller.hello(1)
    pending(teller, {"cp311": 100, "cp39": 10}, cp311=1000, cp39=999)
    teller.hello(2, abi="cp39")
    assert queue(teller).capped
    assert queue(teller).note == "capped at 1,000: a lower bound"
    assert not queue(teller, "cp39").capped
    everything = total(teller.farm.queues(teller.now))
    assert (everything.pending, everything.capped, everything.slaves) == (1999, True, 2)
    assert everything.eta == 99.9 * HOUR
    pending(teller, {"cp311": 100}, cp311=10, cp38=1)
    assert total(teller.farm.queues(teller.now)).eta == HOUR / 10  # but for cp38, never
    pending(teller, {"cp311": 100}, cp38=1)
    assert total(teller.farm.queues(teller.now)).eta is None


def test_slaves_that_cannot_be_counted_on(teller):
    for number in range(1, 4):
        teller.hello(number)
        teller.build(number)
    teller.wait(40 * SECOND)
    teller.stats(1)
    teller.stats(2)
    pending(teller, {"cp311": 9}, cp311=9)
    assert queue(teller).note == "STARVED: 1 of 3 silent/failing"
    teller.wait(40 * SECOND)
    pending(teller, {"cp311": 9}, cp311=9)
    assert (queue(teller).failing, queue(teller).eta) == (3, None)
