from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from piwheels.slave.buildlog import RECENT, BuildLog


def log(*blocks: bytes, limit: int = 1000) -> BuildLog:
    result = BuildLog(limit)
    for block in blocks:
        result.write(block)
    return result


def test_a_short_log_is_complete_and_printable() -> None:
    assert log(b"a\n", b"b\r\nc\x00\x1b[31md\x1b[0m\te\rf").text() == "a\nb\ncd\te\nf"
    assert log(b"caf\xc3", b"\xa9 \xff").text() == "caf\u00e9 \ufffd"


def test_irrelevant_warnings_of_pip_are_removed() -> None:
    noise = b"WARNING: Location '/opt/x' is ignored: it is either a non-existing path or so.\n"
    assert log(b"before\n", noise, b"  " + noise, b"after\n").text() == "before\nafter\n"


def test_notes_are_at_the_end() -> None:
    result = log(b"unfinished")
    result.note("it was stopped")
    result.write(b" line")
    assert result.text() == "unfinished line\npiwheels: it was stopped\n"


def test_the_middle_of_a_long_log_is_cut_out() -> None:
    result = log(b"first\n", *[b"x" * 99 + b"\n"] * 500, b"last\n")
    result.note("the end")
    text = result.text()
    assert text.startswith("first\nxxx")
    assert text.endswith("x\nlast\npiwheels: the end\n")
    assert "bytes of the log are left out here" in text
    assert len(text.encode()) <= 1000


@given(
    st.lists(st.binary(max_size=400)),
    st.sampled_from([b"", b"\xff" * 5000, "\u20ac".encode() * 900]),
)
def test_any_output_is_valid_and_within_the_limit(blocks: list[bytes], flood: bytes) -> None:
    result = log(*blocks, flood, limit=1000)
    result.note("end")
    text = result.text()
    assert len(text.encode()) <= 1000
    assert all(char.isprintable() or char in "\n\t\xad" or ord(char) >= 0xA0 for char in text)
    assert text.endswith("piwheels: end\n")


# New output -----------------------------------------------------------------------------------


def follow(result: BuildLog, *blocks: bytes) -> list[tuple[int, str]]:
    """Write *blocks*, and return the new text after each of them."""
    parts: list[tuple[int, str]] = []
    sent = 0
    for block in blocks:
        result.write(block)
        offset, text = result.since(sent)
        sent = offset + len(text)
        parts.append((offset, text))
    return parts


EURO = "\u20ac\n".encode()
PIECES = st.lists(
    st.binary(max_size=20)
    | st.sampled_from([b"\n", b"\r", b"\r\n", b"\x1b[31", b"mred", EURO, EURO[:2], EURO[2:]])
    | st.sampled_from([b" WARNING: Location 'x' ", b"is ignored: y"])
)


@given(PIECES)
def test_the_pieces_together_are_the_log(blocks: list[bytes]) -> None:
    result = BuildLog(100_000)
    parts = follow(result, *blocks, b"\n.")
    assert "".join(text for _, text in parts) + "." == result.text()
    ends = [0, *(offset + len(text) for offset, text in parts)]
    assert [offset for offset, _ in parts] == ends[:-1]


@given(st.lists(st.integers(1, 3 * RECENT), min_size=1, max_size=4), st.integers(0, 4 * RECENT))
def test_only_the_newest_text_is_returned_if_there_is_too_much(
    sizes: list[int], offset: int
) -> None:
    whole = "".join(f"{size % 10}\u20ac" * (size // 2) + "\n" for size in sizes)
    result = BuildLog(1000)  # its middle is cut out, but offsets count it
    for line in whole.splitlines(keepends=True):
        result.write(line.encode())
    start, text = result.since(offset)
    assert text == whole[max(offset, len(whole) - RECENT) :]
    assert start + len(text) == len(whole)


def test_an_unfinished_line_is_returned_when_it_is_too_long() -> None:
    result = log(b"x" * RECENT)
    assert result.since(0) == (0, "")
    result.write(b"y")
    assert result.since(0) == (1, "x" * (RECENT - 1) + "y")
