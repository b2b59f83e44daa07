"""Transfers: the accepted bytes make the file, in any order of chunks."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core import states
from piwheels.core.errors import BadMessage
from piwheels.core.states import FileState
from piwheels.core.transfers import TransferState


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


def test_the_name_is_among_the_states():
    assert states.TransferState is TransferState


def test_credit_limits_the_chunks_in_flight():
    transfer = TransferState(1, declared(bytes(100)), chunk_size=10, credit=3)
    assert ask(transfer) == [range(0, 10), range(10, 20), range(20, 30)]
    transfer.chunk(10, bytes(10))
    assert ask(transfer) == [range(30, 40)]
    assert transfer.missing == 90


def test_a_new_hello_asks_only_for_what_is_missing():
    transfer = TransferState(1, declared(bytes(45)), chunk_size=10, credit=9)
    ask(transfer)
    transfer.chunk(10, bytes(10))
    transfer.reset()
    assert ask(transfer) == [range(0, 10), range(20, 30), range(30, 40), range(40, 45)]


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
    ask(transfer)
    transfer.chunk(0, bytes(10))
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
