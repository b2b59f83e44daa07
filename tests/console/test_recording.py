"""Recordings: complete, truncated, damaged and hostile ones."""

import stat
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piwheels.console.model.commands import Verb
from piwheels.console.model.events import Answer, Garbled, Incoming, Outgoing, Unsent
from piwheels.console.model.farm import FarmModel
from piwheels.console.session import Session
from piwheels.console.simulate.world import World
from piwheels.console.wire import recorder as recorder_module
from piwheels.console.wire.recorder import (
    EVENTS,
    HEADER,
    KEYFRAME,
    MAGIC,
    MARK,
    RECORD,
    Recorder,
    micros,
    pack,
)
from piwheels.console.wire.replay import Replay
from piwheels.core.errors import Fatal
from piwheels.core.protocols import (
    Job,
    Lane,
    Output,
    QueueHead,
    SlaveEvent,
    TargetState,
    Welcome,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Clock:
    def __init__(self):
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now


def simulated_events(count=10, minutes=5, seed=1):
    """Return the events of a simulated farm for a console that attaches."""
    world = World(count, seed, NOW - timedelta(minutes=10))
    world.live_until(NOW)
    received = [
        Incoming(NOW, world.info),
        *(Incoming(NOW, one, True) for one in world.replay(0, 10**6, NOW)),
    ]
    for second in range(1, minutes * 60 + 1):
        now = NOW + second * SECOND
        received += [Incoming(now, event) for event in world.step(now)]
    return received


def record(path, received):
    """Record *received*, and return the summaries of the farm at the end and after each event."""
    recorder, farm = Recorder(path), FarmModel()
    farm.tick(NOW)
    for incoming in received:
        farm.fold(incoming.event, incoming.at, replay=incoming.past)
        recorder.note(incoming, farm)
    recorder.close()
    assert recorder.failure == ""
    farm.tick(received[-1].at)
    return farm


def looks(farm):
    """Return the visible state of a farm's slaves, without values that a keyframe omits."""
    return {
        slave.id: (
            *(slave.reported, slave.since, slave.job, slave.job_since, slave.info),
            *list(slave.stats)[-1:],
        )
        for slave in farm.slaves.values()
    }


@pytest.fixture(scope="module")
def received():
    return simulated_events()


@pytest.fixture(scope="module")
def recording(received, tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "farm.piwrec"
    return path, record(path, received)


def test_a_replay_repeats_all_events(recording, received):
    path, _ = recording
    clock = Clock()
    replay = Replay(path, clock)
    assert (replay.begin, replay.end) == (received[0].at, received[-1].at)
    replay.start()
    assert {each.at for each in replay.take()} == {NOW}
    clock.now += timedelta(hours=1)
    rest = list(replay.take())
    wanted = [each for each in received if each.at > NOW]
    assert rest == [each for each in wanted if not isinstance(each.event, Output)]
    assert not replay.playing, "it continues after its end"
    replay.stop()


def test_a_replay_recreates_the_farm(recording):
    path, farm = recording
    clock = Clock()
    session = Session(Replay(path, clock))
    session.start(NOW)
    clock.now += timedelta(hours=1)
    while session.pump(session.recording.position):
        pass
    assert looks(session.farm) == looks(farm)
    assert [entry.what for entry in session.journal.entries], "nothing was worth a word"
    batch = session.command(Verb.PAUSE, [1])
    assert [command.phase for command in batch.commands] == ["refused"]
    session.close()


@pytest.mark.parametrize("second", [0, 1, 61, 100, 299, 300])
def test_seek_recreates_the_farm_at_a_moment(tmp_path, monkeypatch, received, second):
    monkeypatch.setattr(recorder_module, "KEYFRAME_EVERY", timedelta(seconds=40))
    path, at = tmp_path / "farm", NOW + second * SECOND
    record(path, received)
    session = Session(Replay(path, Clock()))
    session.start(NOW)
    for moment in (NOW + 250 * SECOND, at):  # forward and back
        session.seek(moment)
        session.recording.pause()
        while session.pump(moment):
            pass
        session.tick(moment)
    farm = FarmModel()
    farm.tick(NOW)
    for incoming in received:
        if incoming.at <= at:
            farm.fold(incoming.event, incoming.at, replay=incoming.past)
    farm.tick(at)
    assert looks(session.farm) == looks(farm)
    session.close()


def test_a_keyframe_has_the_lanes_and_the_targets(tmp_path, monkeypatch, received):
    monkeypatch.setattr(recorder_module, "KEYFRAME_EVERY", timedelta(seconds=60))
    number = next(each.event for each in received if isinstance(each.event, SlaveEvent)).slave_id
    targets = [TargetState("linux_armv7l", "cp311", 3, 2)]
    answers = Answer(1, "HOSTS", [Lane(number, "beef", 2)]), Answer(2, "TARGETS", targets)
    news = [Incoming(received[0].at, answer) for answer in answers]
    recorder, farm = Recorder(tmp_path / "farm"), FarmModel()
    for incoming in [*received[:200], *news, *received[200:]]:
        if isinstance(incoming.event, Answer):
            farm.fold(answers[0].data[0], incoming.at)
        else:
            farm.fold(incoming.event, incoming.at, replay=incoming.past)
        recorder.note(incoming, farm)
    recorder.close()
    session = Session(Replay(tmp_path / "farm", Clock()))
    session.start(NOW)
    session.seek(received[-1].at)
    while session.pump(received[-1].at):
        pass
    assert session.farm.slaves[number].host == "beef"
    assert session.targets == targets
    session.close()


def test_seek_reads_from_the_keyframe_before(tmp_path, monkeypatch, received):
    monkeypatch.setattr(recorder_module, "KEYFRAME_EVERY", timedelta(seconds=40))
    record(tmp_path / "farm", received)
    replay = Replay(tmp_path / "farm", Clock())
    replay.seek(NOW + 290 * SECOND)
    events = list(replay.take())
    first = next(each for each in events if not each.past)
    assert NOW + 240 * SECOND < first.at < NOW + 290 * SECOND
    assert all(each.past for each in events[: events.index(first)])
    replay.stop()


def test_speed_and_pause(recording):
    clock = Clock()
    replay = Replay(recording[0], clock)
    assert replay.position == NOW
    clock.now += 10 * SECOND
    assert replay.position == NOW, "it has not begun"
    replay.start()
    clock.now += 10 * SECOND
    assert replay.position == NOW + 10 * SECOND
    replay.speed = 4
    clock.now += 10 * SECOND
    assert replay.position == NOW + 50 * SECOND
    replay.pause()
    clock.now += 10 * SECOND
    assert replay.position == NOW + 50 * SECOND
    replay.seek(NOW - timedelta(days=1))
    assert replay.position == NOW
    replay.play()
    clock.now += timedelta(days=1)
    assert replay.position == replay.end
    replay.seek(NOW + timedelta(days=1))
    assert replay.position == replay.end
    replay.stop()


def test_a_recording_takes_no_commands(recording):
    replay = Replay(recording[0], Clock())
    replay.send(Outgoing("console", 7, "KILL", None))
    assert next(replay.take()).event == Unsent(7, "this is a recording: nothing can be sent")
    replay.stop()


def test_answers_are_recorded_as_events(tmp_path):
    world = World(3, 1, NOW)
    events = world.step(NOW + 60 * SECOND)
    slaves = [each for each in events if isinstance(each, SlaveEvent)]
    heads = [QueueHead("cp311", 3, [Job("numpy", "2.3.4")])]
    targets = [TargetState("linux_armv7l", "cp311", 3, 0, NOW - timedelta(hours=1))]
    received = [
        Incoming(NOW, Answer(1, "HELLO", Welcome(1, world.info, False))),
        Incoming(NOW, Answer(2, "SLAVES", slaves)),
        Incoming(NOW, Answer(3, "FIGURES", list(world.stats))),
        Incoming(NOW, Answer(4, "QUEUE", heads)),
        Incoming(NOW, Answer(5, "BUILDS", None, "no database")),
        Incoming(NOW, Answer(6, "WATCH", None)),
        Incoming(NOW, Answer(7, "HOSTS", [Lane(slaves[0].slave_id, "beef", 2)])),
        Incoming(NOW, Answer(8, "TARGETS", targets)),
        Incoming(NOW, Answer(9, "TARGETS", None, "no database")),
    ]
    record(tmp_path / "farm", received)
    session = Session(Replay(tmp_path / "farm", Clock()))
    session.start(NOW)
    session.pump(NOW)
    assert session.farm.info == world.info
    assert len(session.farm.slaves) == 3
    assert list(session.farm.stats) == list(world.stats)
    assert session.queue == heads
    assert session.targets == session.unserved == targets
    assert session.farm.slaves[slaves[0].slave_id].name.endswith("/2")
    assert not session.journal.entries, "a replay was reported as news"
    session.close()


# The file -----------------------------------------------------------------------------------------


def test_only_its_owner_can_read_a_recording(recording):
    assert stat.S_IMODE(recording[0].stat().st_mode) == 0o600


def test_an_existing_file_is_not_overwritten(recording):
    before = recording[0].read_bytes()
    with pytest.raises(Fatal, match="exists already"):
        Recorder(recording[0])
    assert recording[0].read_bytes() == before


def test_a_missing_folder(tmp_path):
    with pytest.raises(Fatal, match="cannot record into"):
        Recorder(tmp_path / "nowhere" / "farm")
    with pytest.raises(Fatal, match="cannot read the recording"):
        Replay(tmp_path / "nowhere" / "farm", Clock())


def test_a_full_disk_ends_only_the_recording(monkeypatch, received, tmp_path):
    monkeypatch.setattr(recorder_module, "MAX_SIZE", 45_000)
    recorder, farm = Recorder(tmp_path / "farm"), FarmModel()
    farm.tick(NOW)
    for incoming in received:
        recorder.note(incoming, farm)
    recorder.close()
    assert "is full" in recorder.failure
    replay = Replay(tmp_path / "farm", Clock())
    assert replay.begin == NOW
    replay.stop()


def test_a_device_that_is_full(received):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    recorder = Recorder.__new__(Recorder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder_module.os, "O_EXCL", 0)
        patch.setattr(recorder_module.os, "O_CREAT", 0)
        recorder.__init__(full)
    farm = FarmModel()
    farm.tick(NOW)
    for incoming in received:
        recorder.note(incoming, farm)
    recorder.close()
    assert "No space left" in recorder.failure


def whole_blocks(data):
    """Return the offset at which each block of a recording ends."""
    ends, offset = [], len(MAGIC)
    while offset < len(data):
        offset += HEADER.size + HEADER.unpack_from(data, offset)[4]
        ends.append(offset)
    return ends


def test_a_truncated_recording_plays_to_its_last_complete_block(tmp_path):
    event = SlaveEvent(1, NOW, "SLEEP", True)
    blocks = [pack(EVENTS, [(micros(NOW + n * SECOND), False, "SLAVE", event)]) for n in range(4)]
    data = MAGIC + b"".join(blocks)
    ends = whole_blocks(data)
    path = tmp_path / "cut"
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends)
        if whole == 0:
            with pytest.raises(Fatal, match=r"not a recording|is empty"):
                Replay(path, Clock())
            continue
        replay = Replay(path, Clock())
        replay.seek(replay.end)
        assert [each.event for each in replay.take()] == [event] * whole
        replay.stop()


@settings(max_examples=300, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_damage_is_detected(recording, tmp_path_factory, place, byte):
    data = bytearray(recording[0].read_bytes()[:30_000])
    place = int(place * len(data))
    if data[place] == byte:
        return
    data[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "farm"
    path.write_bytes(data)
    try:
        replay = Replay(path, Clock())
    except Fatal:
        return
    replay.seek(replay.end)
    events = list(replay.take())
    assert events
    assert all(replay.begin <= each.at <= replay.end for each in events)
    replay.stop()


def raw_block(raw, *, at=NOW, kind=EVENTS, crc=None):
    body = zlib.compress(raw)
    moment = micros(at)
    crc = zlib.crc32(body) if crc is None else crc
    return HEADER.pack(MARK, kind, moment, moment, len(body), crc) + body


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\0" * 5, "incomplete"),
        (RECORD.pack(0, False, 100) + b"x", "incomplete"),
        (RECORD.pack(0, False, 2**32 - 1), "incomplete"),
        (RECORD.pack(0, False, 4) + b"\xff\xff\xff\xff", "not acceptable CBOR"),
        (RECORD.pack(0, False, 4) + b"\x63FOO", "unknown message"),
        (RECORD.pack(0, False, 6) + b"\x65HELLO", "bad HELLO"),
        (b"\0" * (2**26 + 1), "too large"),
    ],
)
def test_invalid_blocks(tmp_path, raw, why):
    path = tmp_path / "farm"
    path.write_bytes(MAGIC + raw_block(raw))
    replay = Replay(path, Clock())
    (incoming,) = replay.take()
    assert isinstance(incoming.event, Garbled)
    assert why in incoming.event.why
    replay.stop()


def test_a_wrong_checksum(tmp_path):
    path = tmp_path / "farm"
    path.write_bytes(MAGIC + raw_block(b"", crc=1))
    replay = Replay(path, Clock())
    (incoming,) = replay.take()
    assert "checksum" in incoming.event.why
    replay.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fELF",
        MAGIC,
        MAGIC + b"\0" * HEADER.size,
        MAGIC + HEADER.pack(MARK, b"X", 0, 0, 0, 0),
        MAGIC + HEADER.pack(MARK, EVENTS, -(2**63), 0, 0, 0),
        MAGIC + HEADER.pack(MARK, EVENTS, 0, 2**63 - 1, 0, 0),
        MAGIC + HEADER.pack(MARK, KEYFRAME, 0, 0, 2**32 - 1, 0),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path, data):
    path = tmp_path / "farm"
    path.write_bytes(data)
    with pytest.raises(Fatal, match=r"not a recording|is empty|damaged at byte"):
        Replay(path, Clock())


def test_a_clock_that_was_set_back(tmp_path):
    event = SlaveEvent(1, NOW, "SLEEP", True)
    moments = [NOW, NOW - timedelta(hours=1), NOW + SECOND]
    blocks = [pack(EVENTS, [(micros(at), False, "SLAVE", event)]) for at in moments]
    (tmp_path / "farm").write_bytes(MAGIC + b"".join(blocks))
    replay = Replay(tmp_path / "farm", Clock())
    replay.seek(replay.end)
    assert [each.at for each in replay.take()] == [NOW, NOW, NOW + SECOND]
    replay.stop()
