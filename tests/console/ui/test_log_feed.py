"""Where a log comes from: live output, what is stored, or nowhere."""

from datetime import timedelta

import pytest

from console_stage import Stage, master_info
from piwheels.console.model import events
from piwheels.console.ui.logfeed import LogFeed, LogSource


class Reader:
    """A feed, and whoever looks at it: *lines* are what the changes told of."""

    def __init__(self, stage, slave_id=3, build=None):
        self.stage = stage
        self.lines = []
        self.feed = LogFeed(stage.session, slave_id, build, self.changed)
        self.feed.start()
        self.stage.pump()

    def changed(self, first):
        if first is None:
            self.lines = list(self.feed.log.lines)
        else:
            self.lines[first:] = self.feed.log.lines[first:]

    def look(self):
        self.feed.update()
        self.stage.pump()

    @property
    def texts(self):
        assert self.lines == self.feed.log.lines
        return [line.text for line in self.lines]


@pytest.fixture
def stage():
    stage = Stage()
    stage.join()
    stage.build()
    return stage


def test_live_output_is_asked_for_and_shown(stage):
    reader = Reader(stage)
    assert reader.feed.source is LogSource.LIVE
    assert ("WATCH", 3) in stage.master.asked
    stage.output(0, "one\ntw")
    stage.wait(9)
    reader.state_symbol()
    stage.output(6, "o\nthree\n")
    assert reader.texts == ["one", "two", "three"]
    assert [reader.feed.log.time_of(line) for line in reader.lines] == [
        None,
        None,
        timedelta(seconds=9),
    ]


def test_of_a_slave_that_says_nothing_it_is_said_why(stage):
    reader = Reader(stage)
    assert "level-0" in reader.feed.why
    stage.output(0, "one\n")
    assert reader.feed.why == ""


def test_when_the_build_ends_the_stored_log_takes_the_place_of_what_was_missed(stage):
    stage.master.logs[77] = "one\ntwo\nthree\nfour\n"
    stage.master.part = 6
    reader = Reader(stage)
    stage.output(8, "three\n")
    assert reader.texts == ["… 8 characters were not sent", "three"]
    stage.end("failed")
    reader.state_symbol()
    assert reader.feed.source is LogSource.STORED
    assert reader.texts == ["one", "two", "three", "four"]
    assert reader.feed.build.result == "failed"
    assert ("UNWATCH", 3) in stage.master.asked


def test_a_number_that_comes_late_is_waited_for(stage):
    stage.master.logs[77] = "one\n"
    reader = Reader(stage)
    stage.tell(3, "DONE")
    reader.state_symbol()
    assert reader.feed.source is LogSource.ENDED
    assert "number" in reader.feed.why
    stage.end()
    reader.state_symbol()
    assert reader.feed.source is LogSource.STORED
    assert reader.texts == ["one"]


def test_what_is_built_next_is_told_of_and_does_not_mix(stage):
    stage.master.logs[77] = "one\n"
    reader = Reader(stage)
    stage.output(0, "one\n")
    stage.end()
    stage.build(package="lxml", version="6.0.2")
    stage.output(0, "other words that are longer\n", package="lxml", version="6.0.2")
    reader.state_symbol()
    assert reader.texts == ["one"]
    assert reader.feed.name == ("grpcio", "1.75.1", "cp313")
    assert reader.feed.next_job == ("lxml", "6.0.2")


def test_the_log_of_a_build_that_ended_before_is_fetched(stage):
    stage.master.logs[5] = "x" * 50 + "\n"
    stage.master.part = 10
    stage.end(build_id=5)
    build = stage.session.farm.slaves[3].builds[-1]
    reader = Reader(stage, build=build)
    assert reader.feed.source is LogSource.STORED
    assert reader.texts == ["x" * 50]
    assert Reader(stage).texts == reader.texts, "the last one is shown where none runs"


def test_a_log_that_is_not_there_is_not_waited_for(stage):
    stage.end(build_id=6)
    reader = Reader(stage)
    assert (reader.feed.source, reader.feed.why) == (LogSource.NONE, "there is no log of build 6")
    assert reader.texts == []


def test_of_a_skipped_build_nothing_is_kept(stage):
    stage.end("skipped", build_id=None)
    assert "skipped" in Reader(stage).feed.why


def test_a_master_of_level_0_has_no_logs():
    stage = Stage(level=0)
    stage.join()
    stage.build()
    reader = Reader(stage)
    assert (reader.feed.source, reader.feed.name) == (LogSource.LIVE, ("grpcio", "1.75.1", "cp313"))
    assert "level 0" in reader.feed.why
    stage.wait(7)
    reader.state_symbol()
    assert reader.feed.elapsed >= timedelta(seconds=7)
    stage.end()
    reader.state_symbol()
    assert reader.feed.source is not LogSource.LIVE
    assert "level 0" in reader.feed.why


def test_after_a_loss_it_goes_on_and_says_what_was_missed(stage):
    reader = Reader(stage)
    stage.output(0, "one\n")
    stage.master.say(events.WireDown("console"))
    stage.pump()
    reader.state_symbol()
    stage.master.say(events.WireUp("console"))
    for _ in range(5):
        stage.wait()
        reader.state_symbol()
    assert stage.master.asked.count(("WATCH", 3)) == 2
    stage.output(10, "five\n")
    assert reader.texts == ["one", "… 6 characters were not sent", "five"]


def test_after_a_restart_of_the_master_its_numbers_mean_nothing(stage):
    reader = Reader(stage)
    stage.output(0, "one\n")
    stage.master.say(master_info(started=stage.now))
    stage.pump()
    stage.join(label="another")
    stage.build()
    reader.state_symbol()
    assert reader.feed.source is LogSource.ENDED
    assert "restarted" in reader.feed.why
    assert reader.texts == ["one"]
    assert reader.feed.next_job is None


def test_what_comes_after_the_screen_is_closed_changes_nothing(stage):
    reader = Reader(stage)
    reader.feed.close()
    stage.output(0, "one\n")
    assert reader.texts == []


def test_a_slave_that_never_built_says_so():
    stage = Stage()
    stage.join()
    assert "builds nothing" in Reader(stage).feed.why
    assert "builds nothing" in Reader(stage, slave_id=99).feed.why
