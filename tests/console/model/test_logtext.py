"""A build's log as lines."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.console.model.logtext import (
    LONGEST,
    Grade,
    Line,
    LogText,
    find_cause,
    hits,
    places,
    read_line,
)
from piwheels.console.text import MARK


def texts(log):
    return [line.text for line in log.lines]


def log_of(text):
    log = LogText()
    log.add(0, text)
    return log


def test_only_newlines_split_lines():
    assert texts(log_of("one\ntwo\n\nfour\x0b\u2028.\n")) == [
        "one",
        "two",
        "",
        f"four{MARK}{MARK}.",
    ]


def test_an_incomplete_line_is_shown():
    log = log_of("one\ntw")
    assert texts(log) == ["one", "tw"]
    assert log.add(6, "o\nthree") == 1
    assert texts(log) == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("raw", "text", "folds"),
    [
        ("10%\r50%\r100%", "100%", 2),
        ("a line of Windows\r", "a line of Windows", 0),
        ("50%\r   \r", "50%", 0),
        ("\r\r", "", 0),
        ("\x1b[2K 3/9\r\x1b[2K 4/9", " 4/9", 1),
    ],
)
def test_progress_lines_are_folded_into_the_last_state(raw, text, folds):
    line = read_line(raw)
    assert (line.text, line.folds) == (text, folds)


@pytest.mark.parametrize(
    "raw",
    [
        "\x1b[1;31mred\x1b[0m",
        "\x9b31mred",
        "\x1b]0;a title\x07red",
        "\x1b]8;;http://index.example\x1b\\red\x1b]8;;\x1b\\",
        "\x1b(Bred\x1b=",
        "\x1bPq#0;2\x1b\\red",
    ],
)
def test_escape_sequences_are_removed(raw):
    assert read_line(raw).text == "red"


def test_an_unterminated_escape_sequence_hides_nothing():
    assert read_line("\x1b]0;rest of the line").text == f"{MARK}]0;rest of the line"
    assert read_line("\x1b[31").text == f"{MARK}[31"


def test_control_characters_are_replaced():
    text = read_line("a\0b\x07c\u202ed\u05d0[red]e[/]").text
    assert text == f"a{MARK}b{MARK}c{MARK}d{MARK}[red]e[/]"


def test_tabs_are_expanded_to_multiples_of_eight():
    assert read_line("a\tb").text == "a       b"


@pytest.mark.parametrize(
    "text",
    [
        "src/x.cc:1:2: error: expected ';'",
        "ERROR: Failed building wheel for numpy",
        "error[E0432]: unresolved import",
        "ModuleNotFoundError: No module named 'numpy'",
        "Traceback (most recent call last):",
        "make[2]: *** [Makefile:12: all] Error 1",
        "gcc: fatal error: no input files",
        "CMake Error at CMakeLists.txt:3 (message):",
        "x.o: undefined reference to `main'",
        "ninja: build stopped: subcommand failed.",
        "OSError: [Errno 28] No space left on device",
    ],
)
def test_errors_are_found(text):
    assert read_line(text).grade is Grade.ERROR


@pytest.mark.parametrize(
    "text",
    [
        "call.cc:812:5: warning: 'x' may be used uninitialized",
        "SetuptoolsDeprecationWarning: use something else",
        "CMake Warning at CMakeLists.txt:3",
        "WARNING: The candidate was yanked",
        "warning[unused]: x",
    ],
)
def test_warnings_are_found(text):
    assert read_line(text).grade is Grade.WARNING


@pytest.mark.parametrize(
    "text",
    [
        "gcc -Werror -Wno-error=x -c error.c",
        "checking for strerror... yes",
        "0 errors, 0 warnings",
        "copying errors.py -> build/lib",
        "adding 'x/exceptions/warnings.py'",
    ],
)
def test_lines_that_only_mention_errors_are_plain(text):
    assert read_line(text).grade is Grade.PLAIN


def test_grades_are_counted_while_a_line_changes():
    log = log_of("warning: x\nerr")
    assert (log.counts[Grade.WARNING], log.counts[Grade.ERROR]) == (1, 0)
    log.add(log.end, "or: y")
    log.add(log.end, " and z\nfine\n")
    assert (log.counts[Grade.WARNING], log.counts[Grade.ERROR]) == (1, 1)
    assert sum(log.counts.values()) == len(log.lines) == 3


def test_a_gap_is_shown():
    log = log_of("one\ntw")
    assert log.add(1240, "rest\n") == 1
    assert texts(log) == ["one", "tw", "… 1,234 characters were not sent", "rest"]
    assert log.lines[2].grade is Grade.GAP
    assert (log.missing, log.end) == (1234, 1245)


def test_known_text_is_not_added_again():
    log = log_of("one\ntwo\n")
    assert log.add(4, "two\n") == 2
    assert log.add(0, "one\ntwo\nthree\n") == 2
    assert texts(log) == ["one", "two", "three"]


def test_a_line_has_the_time_at_which_it_began():
    log = LogText()
    log.add(0, "one\ntw", timedelta(seconds=1))
    log.add(6, "o\nthree\n", timedelta(seconds=2))
    assert [log.time_of(line).seconds for line in log.lines] == [1, 1, 2]
    stored = log_of("one\ntwo\nthree\nfour\n")
    assert stored.time_of(stored.lines[0]) is None
    stored.take_times(log)
    assert [stored.time_of(line) for line in stored.lines][2:] == [timedelta(seconds=2), None]


def test_an_endless_line_is_cut():
    log = log_of("x" * (2 * LONGEST) + "yz")
    assert [len(line.text) for line in log.lines] == [LONGEST, LONGEST, 2]
    assert [line.start for line in log.lines] == [0, LONGEST, 2 * LONGEST]


def test_a_search_respects_case_only_with_upper_case():
    lines = [Line("Warning"), Line("a warning"), Line("none")]
    assert list(hits(lines, "warning")) == [0, 1]
    assert list(hits(lines, "Warning")) == [0]
    assert list(hits(lines, "warning", 1)) == [1]
    assert list(places("Aa.a", "a")) == [0, 1, 3]
    assert list(places("Aa.a", "A")) == [0]
    assert list(places("aa", "")) == []


NASTY = st.text(alphabet=st.sampled_from("ab\n\r\x1b[]m;0\x07\\ \t\u05d0\u0301é\0")) | st.text()


@given(text=NASTY, cuts=st.lists(st.integers(0, 60)))
def test_lines_do_not_depend_on_the_parts(text, cuts):
    whole, parts = log_of(text), LogText()
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    shown = []
    for begin, end in zip([0, *ends], ends, strict=False):
        first = parts.add(begin, text[begin:end])
        shown = shown[:first] + parts.lines[first:]
        assert shown == parts.lines
    assert parts.lines == whole.lines
    assert parts.counts == whole.counts


@given(NASTY)
def test_no_control_characters_are_left(text):
    for line in log_of(text).lines:
        assert line.text.isprintable() or "\u00a0" in line.text or not line.text.isascii()
        assert not set(line.text) & set("\x1b\x9b\r\0\u202e\u05d0")


@pytest.mark.parametrize("piece", ["\x1b[", "\x1b]", "a", "error", "make", "\r", "\t", " "])
def test_hostile_lines_take_linear_time(piece):
    log_of(piece * (90_000 // len(piece)))
    # Quadratic time would exceed pytest's limit


def test_an_endless_log_keeps_its_newest_lines(monkeypatch):
    monkeypatch.setattr("piwheels.console.model.logtext.KEPT", 10)
    log, whole = LogText(), "".join(f"error: line {number}\n" for number in range(1, 101))
    changed = [log.add(at, whole[at : at + 30]) for at in range(0, len(whole), 30)]
    assert 0 in changed[1:]  # earlier lines have new numbers
    lost = int(log.lines[0].text.split()[3])
    assert [line.text for line in log.lines[1:]] == [
        f"error: line {number}" for number in range(lost + 1, 101)
    ]
    assert 5 <= len(log.lines) <= 10
    assert sum(log.counts.values()) == len(log.lines)
    assert log.counts[Grade.GAP] == 1


def test_the_cause_of_a_failure_is_found():
    log = log_of("one\n  \u2502 a.c:1: error:\tno  ssl.h \ntwo\na.c:1: error: no ssl.h\n")
    assert list(find_cause(log.lines, "a.c:1: error: no ssl.h")) == [1, 3]
    assert list(find_cause(log.lines, "a.c:1: error: no ssl.h", 2)) == [3]
    assert list(find_cause(log.lines, "")) == list(find_cause(log.lines, " ")) == []
    assert list(find_cause(log.lines, "another")) == []
    long = "word " * 2000
    assert list(find_cause(log_of(f"x\n{long}\n").lines, f"{long[:8000]}\u2026")) == [1]
