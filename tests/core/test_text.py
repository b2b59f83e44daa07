"""Foreign text made valid: for a line, for a log."""

import sys
import unicodedata

import pytest

from piwheels.core.text import CONTROL, CONTROL_IN_LINES, ESCAPE, clean, clean_lines


def test_a_clean_text_has_one_line_and_fits():
    assert clean("a\x00b\nc\u2028\x7f", 5) == "a\ufffdb\ufffdc"


def test_a_clean_log_keeps_its_lines():
    assert clean_lines("a\x1b[0m\r\n\tb\ud800", 99) == "a\ufffd[0m\r\n\tb\ufffd"
    assert clean_lines("abc", 2) == "ab"


def test_the_classes_of_characters():
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    controls = {char for char in every if unicodedata.category(char) in {"Cc", "Zl", "Zp"}}
    assert set(filter(CONTROL.match, every)) == controls
    assert set(filter(CONTROL_IN_LINES.match, every)) == controls - set("\t\n\r\u2028\u2029")
    every = "".join(every)
    assert "\ud800" not in clean(every, len(every))
    assert not CONTROL.search(clean(every, len(every)))


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[31m",
        "\x1b[1;32m",
        "\x1b]0;title\x07",
        "\x1b]8;;x\x1b\\",
        "\x1bM",
        "\x1b(B",
        "\x9b2J",
        "\x1bPq\x1b\\",
    ],
)
def test_escape_sequences(sequence):
    assert ESCAPE.sub("", f"a{sequence}b") == "ab"
