"""Shares of memory: no peer gets more than its own, and none waits for ever."""

import math

from hypothesis import given
from hypothesis import strategies as st

from piwheels.master.logic.shares import ALWAYS, OF_ALL, OF_PEER, Connection, Most, Share

WINDOW = 1000


def connections(count=1, of_peer=OF_PEER, of_all=OF_ALL):
    peer, everyone = Share(of_peer), Share(of_all)
    return [Connection(WINDOW, peer, everyone) for _ in range(count)], peer, everyone


def test_a_connection_has_a_window_or_one_larger_message():
    [one], peer, _ = connections(of_peer=Most(10_000, 100, 1))
    assert one.take(5000) is None
    assert one.has_large
    assert one.is_own(one.take(5000))
    one.give_back(5000, 1)
    assert one.is_own(one.take(5000))  # it is being handled
    one.finish_large()
    assert one.take(5000) is None
    one.close()
    assert (peer.size, peer.frames, peer.large) == (0, 0, 0)


def test_a_peer_has_few_frames_on_however_many_connections():
    found, peer, _ = connections(100, of_peer=Most(math.inf, 10, 1))
    full = [each for each in found if each.take(100) is peer]
    assert len(full) == 90
    peer.waiting = dict.fromkeys(full)
    assert not peer.is_low
    for each in found[:5]:
        each.give_back(100, 1)
    assert peer.is_low


def test_small_messages_pass_while_others_use_the_memory_of_all():
    (one, other), _, everyone = connections(2, of_all=Most(100, math.inf, 1))
    everyone.add(100, 0, 0)
    assert one.take(WINDOW) is None
    for _ in range(ALWAYS // WINDOW):
        one.take(WINDOW)
    assert one.size <= ALWAYS
    assert other.take(ALWAYS + 1) is not None


def test_a_key_shares_from_its_first_message_on():
    [one], _, _ = connections()
    one.take(100)
    key = Share(OF_PEER)
    one.join(key)
    assert (key.size, key.frames) == (100, 1)
    one.close()
    assert (key.size, key.frames) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3000), st.booleans())))
def test_no_share_ever_exceeds_its_most(steps):
    most = Most(4000, 6, 1)
    found, peer, everyone = connections(5, most, Most(6000, math.inf, 2))
    taken = [[] for _ in found]
    for at, size, reads in steps:
        one = found[at]
        if reads and taken[at]:
            one.give_back(taken[at].pop(), 1)
            if not one.size:
                one.finish_large()
        elif one.take(size) is None:
            taken[at].append(size)
        assert peer.size == everyone.size == sum(map(sum, taken)) <= most.size
        assert peer.frames == sum(map(len, taken)) <= most.frames
        assert peer.large <= most.large
