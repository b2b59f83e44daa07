"""The source of a log: live output, the stored log, or none."""

from datetime import timedelta

import pytest

from console_stage import Stage, master_info
from piwheels.console.model import events
from piwheels.console.ui.logfeed import LogFeed, LogSource


class Reader:
    """A feed and its reader: *lines* has the numbers of the changed lines."""

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

    def update(self):
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


def test_live_output_is_requested_and_shown(stage):
    reader = Reader(stage)
    assert reader.feed.source is LogSource.LIVE
    assert ("WATCH", 3) in stage.master.asked
    stage.output(0, "one\ntw")
    stage.wait(9)
    reader.update()
    stage.output(6, "o\nthree\n")
    assert reader.texts == ["one", "two", "three"]
    assert [reader.feed.log.time_of(line) for line in reader.lines] == [
        None,
        None,
        timedelta(seconds=9),
    ]


def test_the_reason_for_missing_output_is_shown(stage):
    reader = Reader(stage)
    assert "level-0" in reader.feed.why
    stage.output(0, "one\n")
    assert reader.feed.why == ""


def test_the_stored_log_fills_gaps_when_the_build_ends(stage):
    stage.master.logs[77] = "one\ntwo\nthree\nfour\n"
    stage.master.part = 6
    reader = Reader(stage)
    stage.output(8, "three\n")
    assert reader.texts == ["… 8 characters were not sent", "three"]
    stage.end("failed")
    reader.update()
    assert reader.feed.source is LogSource.STORED
    assert reader.texts == ["one", "two", "three", "four"]
    assert reader.feed.build.result == "failed"
    assert ("UNWATCH", 3) in stage.master.asked


def test_a_late_build_id_is_awaited(stage):
    stage.master.logs[77] = "one\n"
    reader = Reader(stage)
    stage.send(3, "DONE")
    reader.update()
    assert reader.feed.source is LogSource.ENDED
    assert "number" in reader.feed.why
    stage.end()
    reader.update()
    assert reader.feed.source is LogSource.STORED
    assert reader.texts == ["one"]


def test_the_next_build_is_named_and_its_output_not_mixed_in(stage):
    stage.master.logs[77] = "one\n"
    reader = Reader(stage)
    stage.output(0, "one\n")
    stage.end()
    stage.build(package="lxml", version="6.0.2")
    stage.output(0, "other words that are longer\n", package="lxml", version="6.0.2")
    reader.update()
    assert reader.texts == ["one"]
    assert reader.feed.name == ("grpcio", "1.75.1", "cp313")
    assert reader.feed.next_job == ("lxml", "6.0.2")


def test_the_log_of_an_earlier_build_is_fetched(stage):
    stage.master.logs[5] = "x" * 50 + "\n"
    stage.master.part = 10
    stage.end(build_id=5)
    build = stage.session.farm.slaves[3].builds[-1]
    reader = Reader(stage, build=build)
    assert reader.feed.source is LogSource.STORED
    assert reader.texts == ["x" * 50]
    assert Reader(stage).texts == reader.texts, "the last one is shown where none runs"


def test_a_missing_log_is_reported(stage):
    stage.end(build_id=6)
    reader = Reader(stage)
    assert (reader.feed.source, reader.feed.why) == (LogSource.NONE, "there is no log of build 6")
    assert reader.texts == []


def test_a_skipped_build_has_no_stored_log(stage):
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
    reader.update()
    assert reader.feed.elapsed >= timedelta(seconds=7)
    stage.end()
    reader.update()
    assert reader.feed.source is not LogSource.LIVE
    assert "level 0" in reader.feed.why


def test_after_a_lost_link_it_continues_and_shows_the_gap(stage):
    reader = Reader(stage)
    stage.output(0, "one\n")
    stage.master.say(events.WireDown("console"))
    stage.pump()
    reader.update()
    stage.master.say(events.WireUp("console"))
    for _ in range(5):
        stage.wait()
        reader.update()
    assert stage.master.asked.count(("WATCH", 3)) == 2
    stage.output(10, "five\n")
    assert reader.texts == ["one", "… 6 characters were not sent", "five"]


def test_build_ids_are_forgotten_after_a_restart_of_the_master(stage):
    reader = Reader(stage)
    stage.output(0, "one\n")
    stage.master.say(master_info(started=stage.now))
    stage.pump()
    stage.join(label="another")
    stage.build()
    reader.update()
    assert reader.feed.source is LogSource.ENDED
    assert "restarted" in reader.feed.why
    assert reader.texts == ["one"]
    assert reader.feed.next_job is None


def test_answers_after_closing_are_ignored(stage):
    reader = Reader(stage)
    reader.feed.close()
    stage.output(0, "one\n")
    assert reader.texts == []


def test_a_slave_without_builds_has_no_log():
    stage = Stage()
    stage.join()
    assert "builds nothing" in Reader(stage).feed.why
    assert "builds nothing" in Reader(stage, slave_id=99).feed.why
