"""Schemas: validation, and serialisation between processes and between threads."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core import codec, protocols
from piwheels.core.database.rows import RewritePendingRow, SimpleFile, SimpleProject
from piwheels.core.errors import BadMessage, Refused
from piwheels.core.protocols import Built, slave_driver
from piwheels.core.schema import MAX_ITEMS, schema_of
from piwheels.core.states import (
    BuildState,
    Count,
    DownloadState,
    Fetch,
    FileState,
    PageState,
    SlaveInfo,
    Text,
    Trial,
)
from piwheels.master import wiring

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "vectors.json").read_text())[
    "vectors"
]
FILE = FileState(
    "a-1-py3-none-any.whl", 5, "0" * 64, "a", "1", "py3", "none", "any", None, {"apt": ["x"]}
)
BUILD = BuildState(3, "a", "1", "cp311", True, timedelta(1), "log", {FILE.filename: FILE})


# Between processes ----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['protocol']}-{v['message']}")
def test_valid_data_is_packed_unchanged(vector):
    table = getattr(getattr(protocols, vector["protocol"]), vector["direction"])
    schema = schema_of(table[vector["message"]])
    _, data = codec.loads(bytes.fromhex(vector["cbor"]))
    typed = schema.validate(data)
    assert schema.validate(typed) == typed
    assert schema.pack(data) == data
    assert schema.validate(through_cbor(schema.pack(typed))) == typed


def through_cbor(packed):
    """Encode and decode *packed*."""
    return codec.loads(codec.dumps("OK", packed))[1]


def test_a_state_travels_without_its_inner_fields():
    FILE.transferred = True
    try:
        assert schema_of(FileState).pack(FILE) == FILE.as_message()
        assert len(FILE.as_message()) == 11
        assert BUILD.as_message()[7] == [FILE.as_message()]
    finally:
        FILE.transferred = False
    assert schema_of(BuildState).validate(BUILD.as_message()) == BUILD
    assert schema_of(BuildState).validate(BUILD) == BUILD
    assert BuildState.from_message(BUILD.as_message()) == BUILD


def test_states_within_a_message_are_packed():
    fetch = Fetch("https://files.example/x.zip", 9)
    trial = Trial("foo-1.0-py3-none-any.whl", True)
    built = Built(True, timedelta(1), "log", [FILE], (fetch,), (trial,))
    sent = reversed(slave_driver).to_send("BUILT", built)
    assert sent == [True, timedelta(1), "log", [FILE.as_message()], [fetch], [trial], False, ""]


def test_fields_that_are_missing_stay_so():
    info = [timedelta(1), timedelta(1), "311", "cp311", "linux_x86_64", "l", "o", "v", "r", "s"]
    assert schema_of(SlaveInfo).pack(info) == info
    assert schema_of(SlaveInfo).validate(info).features is None


@pytest.mark.parametrize(
    ("hint", "value", "why"),
    [
        (Count, True, "expected a whole number"),
        (Count, -1, "from 0 to"),
        (Text, "a\nb", "control characters"),
        (Text, "a" * 201, "longer than 200"),
        (list[int], "12", "expected a list"),
        (list[int], [0] * (MAX_ITEMS + 1), "at most 10,000"),
        (dict[str, int], [], "expected a map"),
        (tuple[int, str], [1], "expected a sequence of 2"),
        (Literal["a", "b"], "c", "must be one of"),
        (datetime, datetime(2026, 1, 1), "offset from UTC"),  # noqa: DTZ001
        (FileState, FILE.as_message()[:10], "expected a sequence of 11"),
    ],
)
def test_invalid_data_is_a_bad_message(hint, value, why):
    with pytest.raises(BadMessage, match=why):
        schema_of(hint).validate(value)


class Pair(NamedTuple):
    """Two of them."""

    one: str
    other: FileState


@dataclass
class Hidden:
    """A field that travels after one that does not."""

    inner: int = field(default=0, metadata={"wire": False})
    outer: int = 0


def test_one_of_several_types_is_packed_as_what_it_is():
    schema = schema_of(dict[str, FileState] | int | type(codec.NoData))
    for value in ({FILE.filename: FILE}, 7, codec.NoData):
        assert schema.validate(through_cbor(schema.pack(value))) == value


TABLES = [each for each in vars(protocols).values() if isinstance(each, protocols.Protocol)]
TABLES += [each for each in vars(wiring).values() if isinstance(each, protocols.Protocol)]


@pytest.mark.parametrize("wire", TABLES, ids=lambda wire: "-".join([*wire.recv, *wire.send])[:40])
def test_every_message_has_a_schema(wire):
    for cls in (*wire.recv.values(), *wire.send.values()):
        assert schema_of(cls)


@pytest.mark.parametrize("hint", [object, Path, Refused, Hidden])
def test_some_types_cannot_cross_a_process(hint):
    with pytest.raises(TypeError, match=r"no schema|travels after"):
        schema_of(hint)


def test_records_hold_records():
    pair = Pair("a", FILE)
    for internal in (False, True):
        schema = schema_of(Pair, internal)
        assert schema.validate(through_cbor(schema.pack(pair))) == pair


# Between threads ------------------------------------------------------------------------------

NOW = datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=UTC)


def sent(hint, value):
    """Send *value* as a *hint* and return what arrives."""
    schema = schema_of(hint, internal=True)
    return schema.validate(through_cbor(schema.pack(value)))


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
moments = st.datetimes(timezones=st.just(UTC))
VALUES = {
    set[str]: st.sets(names),
    set[int]: st.sets(st.integers(0, 2**40)),
    str | None: st.none() | names,
    list[tuple[str, str]]: st.lists(st.tuples(names, names)),
    dict[str, tuple[int, int]]: st.dictionaries(names, st.tuples(st.integers(0, 9), st.just(1))),
    dict[str, list[tuple[str, str]]]: st.dictionaries(
        names, st.lists(st.tuples(names, names), max_size=2)
    ),
    dict[tuple[str, str], int]: st.dictionaries(st.tuples(names, names), st.integers(0, 9)),
    list[RewritePendingRow]: st.lists(st.builds(RewritePendingRow, names, moments, names)),
    timedelta: st.timedeltas(),
    SimpleProject | None: st.none() | st.from_type(SimpleProject),
}


@given(st.sampled_from(list(VALUES)).flatmap(lambda hint: st.tuples(st.just(hint), VALUES[hint])))
def test_values_arrive_as_they_were(case):
    hint, value = case
    if isinstance(value, SimpleProject):
        moved = [one._replace(published_at=NOW, filesize=1) for one in value.files]
        value = value._replace(files=moved)
    arrived = sent(hint, value)
    assert arrived == value
    assert type(arrived) is type(value)


def test_a_build_arrives_with_what_the_outer_wires_leave_out():
    file = FileState(*FILE.as_message())
    file.transferred, file.metadata_hash = True, "1" * 64
    build = BuildState(3, "a", "1", "cp311", True, timedelta(1), "log", {file.filename: file}, 7)
    assert sent(BuildState, build) == build


def test_one_of_several_types_arrives_as_what_it_was():
    page = PageState("/", "h", NOW, "agent")
    download = DownloadState("f", "h", NOW, *[None] * 10)
    assert sent(list[PageState | DownloadState], [page, download]) == [page, download]
    seven, no = sent(list[int | Refused], [7, Refused("NOVER", "no such version")])
    assert seven == 7
    assert (no.code, str(no)) == ("NOVER", "no such version")


def test_records_arrive_as_their_type():
    file = SimpleFile("f", 1, "0" * 64, None, False, "", None, NOW, "cp311", "1", ["libc6"])
    arrived = sent(SimpleProject, SimpleProject("p", "active", "", ["1"], [file]))
    assert isinstance(arrived.files[0], SimpleFile)
    assert arrived.files == [file]
