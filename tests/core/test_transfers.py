"""Transfers: the accepted bytes make the file, in any order of chunks."""

import hashlib
import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core import states
from piwheels.core.errors import BadMessage
from piwheels.core.states import FileState
from piwheels.core.transfers import (
    CHUNK_SIZE,
    CREDIT,
    FIRST_CHUNK,
    MIN_CHUNK,
    MIN_PATIENCE,
    Pace,
    TransferState,
)


def declared(content, filehash=None):
    return FileState(
        "x-1-py3-none-any.whl",
        len(content),
        filehash or hashlib.sha256(content).hexdigest(),
        "x",
        "1",
        "py3",
        "none",
        "any",
        None,
        {},
    )


def ask(transfer):
    return list(iter(transfer.fetch, None))


def begin(transfer, size):
    """Let the first chunk, of *size* bytes, arrive; return the ranges that are asked for then."""
    assert ask(transfer) == [range(size)]
    transfer.chunk(0, bytes(size))
    return ask(transfer)


def test_the_name_is_among_the_states():
    assert states.TransferState is TransferState


def test_credit_limits_the_chunks_in_flight():
    transfer = TransferState(1, declared(bytes(100)), chunk_size=10, credit=3)
    assert ask(transfer) == [range(10)]  # the first chunk measures the link
    transfer.chunk(0, bytes(10))
    assert ask(transfer) == [range(10, 20), range(20, 30), range(30, 40)]
    transfer.chunk(20, bytes(10))
    assert ask(transfer) == [range(40, 50)]
    assert transfer.missing == 80


def test_a_lost_connection_asks_only_for_what_is_missing():
    transfer = TransferState(1, declared(bytes(45)), chunk_size=10, credit=9)
    begin(transfer, 10)
    transfer.chunk(20, bytes(10))
    transfer.reset()
    assert ask(transfer) == [range(10, 20), range(30, 40), range(40, 45)]


def test_an_empty_file_is_done_from_the_start():
    transfer = TransferState(1, declared(b""))
    assert transfer.done
    assert transfer.fetch() is None
    assert transfer.verify()


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 9), (0, 11), (1, 10), (40, 10), (10, 0), (0, 0), (10**18, 10)]
)
def test_an_unrequested_chunk_changes_nothing(offset, length):
    transfer = TransferState(1, declared(bytes(50)), chunk_size=10, credit=2)
    ask(transfer)
    with pytest.raises(BadMessage):
        transfer.chunk(offset, bytes(length))
    assert transfer.missing == 50
    assert transfer.hashed == 0


def test_a_chunk_counts_once():
    transfer = TransferState(1, declared(bytes(20)), chunk_size=10)
    begin(transfer, 10)
    with pytest.raises(BadMessage):
        transfer.chunk(0, bytes(10))


def test_other_content_does_not_verify():
    transfer = TransferState(1, declared(b"abc"))
    ask(transfer)
    transfer.chunk(0, b"abd")
    assert transfer.done
    assert not transfer.verify()


def test_an_incomplete_file_never_verifies():
    transfer = TransferState(1, declared(b"abc"))
    assert not transfer.verify([b"abc"])


@given(st.binary(max_size=200), st.integers(1, 40), st.integers(1, 5), st.data())
def test_chunks_in_any_order_with_any_losses_make_the_file(content, chunk_size, credit, data):
    transfer = TransferState(7, declared(content), chunk_size=chunk_size, credit=credit)
    kept, flying = bytearray(len(content)), []
    losses = 0
    while not transfer.done:
        flying += ask(transfer)
        if not flying or (losses < 5 and data.draw(st.booleans())):
            flying, losses = [], losses + 1
            transfer.reset()
            continue
        got = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
        transfer.chunk(got.start, content[got.start : got.stop])
        kept[got.start : got.stop] = content[got.start : got.stop]
    assert kept == content
    assert transfer.verify([bytes(kept[transfer.hashed :])])


# The pace ---------------------------------------------------------------------------------------


class Link:
    """A link with the *rate* in bytes a second and the *delay* there and back in seconds.

    The first *burst* bytes pass at once.
    It carries the file of *transfer*, and 5 s of silence make the sender say HELLO.
    """

    def __init__(self, size, rate, delay, burst=0):
        self.burst = burst
        self.transfer = TransferState(1, declared(bytes(size)))
        self.rate, self.delay = rate, delay
        self.now = self.free = self.waited = 0.0
        self.asked = 0

    def run(self):
        flying = self._ask([])
        while flying:
            now, chunk = heapq.heappop(flying)
            while self.now + 5 < now:
                self.now += 5
                self.transfer.expire(self.now)
                self._ask(flying)
            self.now = now
            self.transfer.chunk(chunk[0], bytes(chunk[1]), now)
            self._ask(flying)
        assert self.transfer.done
        return self

    def _ask(self, flying):
        while (wanted := self.transfer.fetch(self.now)) is not None:
            self.asked += len(wanted)
            slow = max(0, self.asked - max(self.burst, self.asked - len(wanted)))
            self.free = max(self.free, self.now + self.delay) + slow / self.rate
            self.waited = max(self.waited, self.free - self.now - self.delay)
            heapq.heappush(flying, (self.free, (wanted.start, len(wanted))))
        return flying


@pytest.mark.parametrize("rate", [4_000, 16_000, 32_000, 125_000, 10**6, 10**8])
@pytest.mark.parametrize("delay", [0.0005, 0.05, 0.6])
def test_a_link_is_used_and_not_filled(rate, delay):
    size = min(max(20 * rate, 200_000), 50_000_000)
    link = Link(size, rate, delay).run()
    assert link.asked == size, "something was requested twice"
    # Other messages wait behind what has been requested; a chunk of 4 KiB is the least.
    assert link.waited <= max(2.5, 2 * FIRST_CHUNK / rate)
    fastest = size / min(rate, CHUNK_SIZE * CREDIT / (delay + CHUNK_SIZE * CREDIT / rate))
    assert link.now <= 1.25 * fastest + 14 * delay


@pytest.mark.parametrize("rate", [8_000, 16_000, 125_000])
@pytest.mark.parametrize("burst", [FIRST_CHUNK, 64 * 2**10, 2**20])
def test_a_link_that_begins_fast_carries_every_byte_once(rate, burst):
    size = burst + CHUNK_SIZE * CREDIT + 20 * rate
    assert Link(size, rate, 0.05, burst).run().asked == size


def test_the_window_follows_the_first_chunk_of_a_fast_link():
    transfer = TransferState(1, declared(bytes(10**7)))
    asked = [transfer.fetch(5.0)]
    assert [*asked, transfer.fetch(5.0)] == [range(FIRST_CHUNK), None]
    transfer.chunk(0, bytes(FIRST_CHUNK), 5.001)
    assert [len(chunk) for chunk in ask(transfer)] == [CHUNK_SIZE] * CREDIT


def test_the_window_shrinks_when_the_link_becomes_slow_but_not_for_one_late_chunk():
    pace = Pace()
    for _ in range(100):
        pace.arrived(CREDIT * CHUNK_SIZE, 0.01)
    assert pace.window == CHUNK_SIZE * CREDIT
    pace.arrived(CHUNK_SIZE, 60.0)
    assert pace.window == CHUNK_SIZE * CREDIT
    for _ in range(CREDIT):
        pace.arrived(CHUNK_SIZE, 60.0)
    assert pace.window == MIN_CHUNK * CREDIT
    assert pace.chunk_size == MIN_CHUNK


def test_silence_requests_nothing_again_before_the_link_must_have_lost_it():
    transfer = TransferState(1, declared(bytes(10**6)))
    start = transfer.fetch(0.0)
    transfer.chunk(0, bytes(len(start)), 1.0)
    first = list(iter(lambda: transfer.fetch(100.0), None))
    assert [len(chunk) for chunk in first] == [MIN_CHUNK] * CREDIT
    for second in range(100, 130, 5):
        transfer.expire(float(second))
        assert transfer.fetch(float(second)) is None
    transfer.expire(100.0 + 10_000)
    again = list(iter(lambda: transfer.fetch(200.0), None))
    assert again == first  # the same chunks, so that the answer to either request is accepted
    for chunk in first:
        transfer.chunk(chunk.start, bytes(len(chunk)), 201.0)
        with pytest.raises(BadMessage):
            transfer.chunk(chunk.start, bytes(len(chunk)), 201.0)


def test_a_chunk_that_was_only_slow_is_not_requested_again():
    transfer = TransferState(1, declared(bytes(40)), chunk_size=10)
    begin(transfer, 10)
    transfer.expire(10_000.0)
    transfer.chunk(10, bytes(10), 10_000.0)
    assert ask(transfer) == [range(20, 30), range(30, 40)]


def test_the_patience_follows_the_speed():
    pace = Pace()
    assert pace.patience(FIRST_CHUNK) == MIN_PATIENCE
    assert pace.patience(8 * FIRST_CHUNK) == pytest.approx(131.072)
    pace.arrived(MIN_CHUNK, 1.0)
    assert pace.patience(MIN_CHUNK) == MIN_PATIENCE
    assert pace.patience(10 * MIN_CHUNK) == pytest.approx(40.0)
    pace.arrived(CHUNK_SIZE, 0.001)  # a burst
    assert pace.patience(10 * MIN_CHUNK) == pytest.approx(40.0)
