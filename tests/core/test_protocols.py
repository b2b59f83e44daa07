"""The protocols encode and decode the vectors byte for byte, and survive any bytes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core import codec, protocols
from piwheels.core.conversations import ToolPhase, slave_conversation, tool_conversation
from piwheels.core.errors import BadMessage
from piwheels.core.protocols import NoData
from piwheels.core.states import Phase

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "vectors.json").read_text())[
    "vectors"
]
WIRES = ["slave_driver", "master_control", "mr_chase", "lumberjack", "monitor_stats"]


def from_json(value):
    match value:
        case {"$datetime": text}:
            return datetime.fromisoformat(text)
        case {"$timedelta": [days, seconds, microseconds]}:
            return timedelta(days, seconds, microseconds)
        case {"$nodata": True}:
            return NoData
        case dict():
            return {key: from_json(element) for key, element in value.items()}
        case list():
            return [from_json(element) for element in value]
    return value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['protocol']}-{v['message']}")
def test_vector(vector):
    wire = getattr(protocols, vector["protocol"])
    ours, theirs = wire, reversed(wire)
    if vector["direction"] == "recv":
        ours, theirs = theirs, ours
    frame, data = bytes.fromhex(vector["cbor"]), from_json(vector["data"])
    # One side sends what the vector says, to the byte ...
    assert codec.dumps(vector["message"], ours.to_send(vector["message"], data)) == frame
    # ... and the other reads it, checks it, and would write the same again.
    msg, read = codec.loads(frame)
    assert msg == vector["message"]
    typed = theirs.received(msg, read)
    assert theirs.received(msg, typed) == typed


def test_a_slave_may_say_what_it_can_do():
    info = [timedelta(1), timedelta(1), "311", "cp311", "linux_x86_64", "l", "o", "v", "r", "s"]
    level_0 = protocols.slave_driver.received("HELLO", info)
    assert level_0.features is None
    level_1 = protocols.slave_driver.received("HELLO", [*info, {"level": 1}])
    assert level_1.features == {"level": 1}
    assert level_1[:10] == level_0[:10]


@pytest.mark.parametrize(
    ("wire", "msg", "data"),
    [
        ("slave_driver", "HELLO", [1] * 10),
        ("slave_driver", "FOO", NoData),
        ("slave_driver", "BYE", 1),
        ("master_control", "KILL", True),  # a bool is not an int
        ("master_control", "KILL", -1),
        ("mr_chase", "ADDPKG", ["../x", "", "", False, []]),
        ("mr_chase", "ADDVER", ["x", "1", "", False, datetime(2026, 1, 1), False, False, []]),  # noqa: DTZ001
        ("mr_chase", "REBUILD", ["HOME", None]),
        ("slave_driver", "BUILT", [True, timedelta(1), "", [["../../x.whl", *[0] * 10]]]),
    ],
)
def test_data_of_the_wrong_type_is_a_bad_message(wire, msg, data):
    with pytest.raises(BadMessage):
        getattr(protocols, wire).received(msg, data)


@pytest.mark.parametrize(
    "name",
    [
        "../x-1-py3-none-any.whl",
        ".x-1-py3-none-any.whl",
        "x\n-1-py3-none-any.whl",
        "a/b.whl",
        "x-1-py3-none-any.whl\n",
        "x" * 300 + ".whl",
        "x.tar.gz",
    ],
)
def test_a_file_name_is_a_bare_name(name):
    with pytest.raises(BadMessage):
        reversed(protocols.slave_driver).received("SEND", name)


frames = st.binary(max_size=200) | st.sampled_from(
    [bytes.fromhex(v["cbor"]) for v in VECTORS]
).flatmap(
    lambda frame: st.tuples(st.integers(0, len(frame)), st.binary(max_size=8)).map(
        lambda cut: frame[: cut[0]] + cut[1] + frame[cut[0] + len(cut[1]) :]
    )
)


@given(frames)
def test_any_bytes_are_a_message_or_a_bad_message(frame):
    try:
        msg, data = codec.loads(frame)
    except BadMessage:
        return
    for name in WIRES:
        for wire in (getattr(protocols, name), reversed(getattr(protocols, name))):
            try:
                typed = wire.received(msg, data)
            except BadMessage:
                continue
            assert codec.loads(codec.dumps(msg, typed))[0] == msg


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81" * 1000,  # nesting
        b"\x9f" * 10,  # indefinite length
        b"\xd8\x1c\x81\xd8\x1d\x00",  # shared references
        b"\x82aA\xa2\x01\x01\x02\x02",  # numeric keys
        b"\x82aA\xa2aa\x01aa\x02",  # duplicate keys
        b"\x82aA\xc2\x41\x01",  # bignum
        b"\x82aA\xd9\x07\xd1\x83\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00",  # too long
        b"\x82aA\xc0i2026-13-1",  # a date that is none
        b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        b"",
    ],
)
def test_malicious_cbor_is_a_bad_message(frame):
    with pytest.raises(BadMessage):
        codec.loads(frame)


def test_a_frame_has_a_limit():
    with pytest.raises(BadMessage):
        codec.loads(b"\x00" * (codec.MAX_FRAME + 1))
    with pytest.raises(ValueError, match="size limit of a frame"):
        codec.dumps("A", "x" * codec.MAX_FRAME)


def test_nodata_survives_nesting():
    event = (1, datetime(2026, 1, 1, tzinfo=UTC), "DIE", NoData)
    assert codec.loads(codec.dumps("SLAVE", event))[1][3] is NoData


@pytest.mark.parametrize(
    ("conversation", "wire", "phases"),
    [
        (slave_conversation, protocols.slave_driver, Phase),
        (tool_conversation, protocols.mr_chase, ToolPhase),
    ],
)
def test_a_conversation_has_every_message_of_its_wire_and_no_other(conversation, wire, phases):
    assert set(conversation.turns) == set(phases)
    requests, replies = set(conversation.farewells), set(conversation.interruptions)
    for turn in conversation.turns.values():
        requests.update(turn)
        for each in turn.values():
            replies.update(each)
            assert set(each.values()) <= set(phases)
    assert (requests, replies) == (set(wire.recv), set(wire.send))
    assert conversation.level_1[0] <= requests
    assert conversation.level_1[1] <= replies


def test_the_messages_of_level_0_never_change():
    """Other implementations use level 0: a new message belongs to level 1."""
    requests, replies = slave_conversation.level_1
    wire = protocols.slave_driver
    assert set(wire.recv) - requests == {"HELLO", "IDLE", "BUSY", "BUILT", "SENT", "BYE"}
    assert set(wire.send) - replies == {"ACK", "BUILD", "SLEEP", "CONT", "SEND", "DONE", "DIE"}


def test_a_conversation_of_a_slave():
    requests, replies = slave_conversation.requests, slave_conversation.replies
    assert requests(Phase.BUILDING) == {"BUSY", "OUTPUT", "BUILT", "BYE"}
    assert requests(Phase.BUILDING, level=0) == {"BUSY", "BUILT", "BYE"}
    assert requests(Phase.CHECKING) == {"BYE"}
    assert replies(Phase.IDLE, "IDLE", level=0) == {
        "BUILD": Phase.BUILDING, "SLEEP": Phase.ASLEEP, "DIE": Phase.GONE,
    }  # fmt: skip
    assert replies(Phase.IDLE, "IDLE").keys() == {"BUILD", "SLEEP", "DIE", "REFUSED", "HELLO"}
    assert replies(Phase.SENDING, "BYE") == {}
    assert replies(Phase.RETURNING, "HELLO")["ACK"] is Phase.RESUMING
    for phase, request, level in [
        (Phase.IDLE, "BUSY", 1), (Phase.BUILDING, "OUTPUT", 0), (Phase.NEW, "nonsense", 1),
        (Phase.SENDING, "HELLO", 1),
    ]:  # fmt: skip
        with pytest.raises(BadMessage, match=f"{request} is out of order"):
            replies(phase, request, level)


def test_every_phase_of_a_slave_can_be_reached_and_left():
    reached, work = {Phase.NEW, Phase.RETURNING}, [Phase.NEW, Phase.RETURNING]
    while work:
        phase = work.pop()
        for request in slave_conversation.turns[phase]:
            new = set(slave_conversation.replies(phase, request).values()) - reached
            reached |= new
            work += new
    assert reached == set(Phase) - {Phase.CHECKING}  # which the master adds
