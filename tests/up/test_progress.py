import io
from datetime import UTC, datetime, timedelta

from piwheels.core.protocols import SlaveEvent
from piwheels.up.progress import GREEN, Screen, Slaves

START = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = timedelta(minutes=5)


class Terminal(io.StringIO):
    """A terminal that shows what was flushed, as the buffer of standard error does."""

    def __init__(self):
        super().__init__()
        self.begin()

    def begin(self):
        self.waiting = self.shown = ""

    def isatty(self):
        return True

    def write(self, text):
        self.waiting += text
        return len(text)

    def flush(self):
        self.shown, self.waiting = self.shown + self.waiting, ""

    def getvalue(self):
        return self.shown


def hello(number, label):
    info = (LIMIT, LIMIT, "311", "cp311", "linux_x86_64", label, "", "", "", "")
    return SlaveEvent(number, START, "HELLO", info)


def test_a_pause_is_reported_once():
    slaves = Slaves()
    slaves.event(hello(1, "b"), 100.0, 0.0)
    assert slaves.event(SlaveEvent(1, START, "SLEEP", False), 101.0, 0.0) == ""
    asleep = SlaveEvent(1, START, "SLEEP", True)
    sentence = "b: paused: log/master.log says why"
    assert [slaves.event(asleep, 102.0, 0.0) for _ in range(3)] == [sentence, "", ""]
    assert slaves.lines(103.0) == ["  b  paused: log/master.log says why  0:00:01"]
    assert slaves.event(SlaveEvent(1, START, "SLEEP", False), 104.0, 0.0) == ""
    assert slaves.lines(105.0) == ["  b  idle"]


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
    stream.begin()
    screen.say("built", GREEN)
    up = "\r\x1b[2K\x1b[1A\x1b[2K"
    assert stream.shown == f"{up}\x1b[32mbuilt\x1b[0m\n\x1b[2mone\x1b[0m\n\x1b[2mtwo\x1b[0m"
    stream.begin()
    screen.show(["one", "two"])
    assert stream.shown == ""  # unchanged lines are not drawn again
    screen.show(["three"])
    assert stream.shown == f"{up}\x1b[2mthree\x1b[0m"


def test_status_lines_are_erased_before_anything_else_writes_to_the_terminal():
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm"})
    screen.show(["one", "two"])
    screen.show([])
    assert not stream.waiting  # the report, on standard output, would come before it
    assert stream.shown.endswith("\r\x1b[1A\x1b[2K\x1b[1A\x1b[2K")
    stream.begin()
    screen.show(["three"])
    assert "\x1b[1A" not in stream.shown  # nothing above it is erased
    assert "\x1b[?25l" not in stream.shown.rpartition("\x1b[?25h")[2]  # the cursor is visible


def test_status_lines_fit_on_the_terminal():
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "60", "LINES": "15"})
    screen.show([f"{number} " + "x" * 1000 for number in range(20)])
    lines = stream.shown.rpartition("\x1b[?25h")[2].splitlines()
    assert [len(line) for line in lines] == [60] * 14
    assert lines[-1].startswith("19 xx")


def test_output_of_builds_cannot_command_the_terminal():
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm"})
    screen.write("a\x1b]0;title\x07 [red]b[/red]\n")
    assert stream.shown == "a\ufffd]0;title\ufffd [red]b[/red]\n"


def test_lines_outside_a_terminal_have_the_time_and_no_colour():
    for stream, environ in (
        (io.StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"}),
        (Terminal(), {"TERM": "dumb"}),
    ):
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
