from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from piwheels.slave.buildlog import BuildLog


def log(*blocks: bytes, limit: int = 1000) -> BuildLog:
    result = BuildLog(limit)
    for block in blocks:
        result.write(block)
    return result


def test_what_fits_is_whole_and_fit_to_be_shown() -> None:
    assert log(b"a\n", b"b\r\nc\x00\x1b[31md\x1b[0m\te\rf").text() == "a\nb\ncd\te\nf"
    assert log(b"caf\xc3", b"\xa9 \xff").text() == "caf\u00e9 \ufffd"


def test_noise_of_pip_goes() -> None:
    noise = b"WARNING: Location '/opt/x' is ignored: it is either a non-existing path or so.\n"
    assert log(b"before\n", noise, b"  " + noise, b"after\n").text() == "before\nafter\n"


def test_notes_stand_at_the_end() -> None:
    result = log(b"unfinished")
    result.note("it was stopped")
    result.write(b" line")
    assert result.text() == "unfinished line\npiwheels: it was stopped\n"


def test_the_middle_is_cut_out() -> None:
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
    assert all(char.isprintable() or char in "\n\t\xad" or ord(char) > 0xA0 for char in text)
    assert text.endswith("piwheels: end\n")
