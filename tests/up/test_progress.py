import io
from datetime import UTC, datetime, timedelta

from piwheels.core.protocols import SlaveEvent
from piwheels.up.progress import GREEN, Screen, Slaves

START = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = timedelta(minutes=5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def hello(number, label):
    info = (LIMIT, LIMIT, "311", "cp311", "linux_x86_64", label, "", "", "", "")
    return SlaveEvent(number, START, "HELLO", info)


def test_each_slave_has_a_line():
    slaves = Slaves()
    slaves.event(hello(1, "b"), 100.0, 0.0)
    slaves.event(hello(2, "a-long"), 100.0, 0.0)
    assert (
        slaves.event(SlaveEvent(1, START, "BUILD", ("six", "1")), 100.0, -3600.0)
        == "b: building six 1"
    )
    assert slaves.event(SlaveEvent(1, START, "BUILD", ("six", "1")), 100.0, -3600.0) == ""
    slaves.event(hello(1, "b"), 100.0, 0.0)
    assert slaves.event(SlaveEvent(9, START, "BUILD", ("six", "1")), 100.0, 0.0) == ""
    later = 165.0
    assert slaves.lines(later) == ["  a-long  idle", "  b       building six 1  0:01:05"]
    slaves.event(SlaveEvent(1, START, "SEND", "six.whl"), later, 0.0)
    assert slaves.lines(later)[1] == "  b       sending six.whl  0:01:05"
    slaves.event(SlaveEvent(1, START, "DONE", None), later, 0.0)
    slaves.event(SlaveEvent(2, START, "DIE", None), later, 0.0)
    assert slaves.lines(later) == ["  b  idle"]


def test_the_duration_of_a_running_build_counts_from_its_start():
    slaves = Slaves()
    slaves.event(hello(1, "b"), 1000.0, 700.0)
    slaves.event(SlaveEvent(1, START, "BUILD", ("six", "1")), 1000.0, 600.0)
    assert slaves.lines(1005.0) == ["  b  building six 1  0:10:05"]


def test_a_terminal_keeps_the_lines_at_its_bottom():
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm"})
    screen.show(["one", "two"])
    stream.truncate(0)
    screen.say("built", GREEN)
    screen.show(["one", "two"])
    text = stream.getvalue().lstrip("\0")
    assert text.startswith("\x1b[2F\x1b[J\x1b[32mbuilt\x1b[0m\n")
    assert text.count("two") == 1  # unchanged lines are not drawn again
    screen.show([])
    assert stream.getvalue().endswith("\x1b[2F\x1b[J")


def test_long_lines_are_cut():
    stream = Terminal()
    Screen(stream, {"TERM": "xterm", "NO_COLOR": "1"}).show(["x" * 1000])
    assert stream.getvalue() == "x" * 79 + "\n"


def test_lines_outside_a_terminal_have_the_time_and_no_colour():
    for stream, environ in (io.StringIO(), {"TERM": "xterm"}), (Terminal(), {"TERM": "dumb"}):
        screen = Screen(stream, environ)
        screen.show(["never seen"])
        screen.say("built", GREEN)
        time, word = stream.getvalue().split()
        assert (len(time), word) == (8, "built")


def test_quiet_prints_nothing():
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm"}, quiet=True)
    screen.say("built")
    screen.show(["line"])
    assert stream.getvalue() == ""
