"""The filter language: matches and errors."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.console.model.commands import Command, Verb
from piwheels.console.model.query import FIELDS, QueryError, Row, fuzzy, parse
from piwheels.console.model.slave import Alert, Slave, State
from piwheels.core.states import SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)


def make_row(number=1, label="pi4-rack1-01", state=State.BUILD, elapsed=2 * HOUR, **more):
    info = SlaveInfo(3 * HOUR, HOUR / 4, "311", "cp311", "linux_aarch64", label, "Debian",
                     "12 (bookworm)", "c03115", "10000000abcd1234")  # fmt: skip
    command = more.pop("command", None)
    slave = Slave(number, info, label, joined=NOW, since=NOW, last_contact=NOW, **more)
    return Row(slave, state, elapsed, command)


@pytest.fixture
def builder():
    """A slave that builds, with a high load, a full disk and a skip command."""
    row = make_row(
        job=("tensorflow-io", "0.37"),
        ratio=6.2,
        eta=timedelta(minutes=4),
        alerts=(Alert("disk", "93%", NOW),),
        command=Command(Verb.SKIP, 1, "pi4-rack1-01", NOW),
    )
    row.slave.stats.append(SlaveStats(NOW, 100, 7, 100, 40, 0, 0, 7.91, 79.4))
    return row


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rack1",
        "RACK1-01",
        "tensor 0.37",
        "tio",
        "pr01",
        '"pi4-rack1"',
        '"tensorflow-io 0.37"',
        "abi=cp311",
        "abi=cp39,cp311",
        "ABI=CP311",
        "abi!=cp39",
        "label~rack1",
        "os~bookworm",
        'os="Debian 12 (bookworm)"',
        "platform=linux_aarch64",
        "serial~abcd",
        "task~flow",
        "id=1",
        "id=1,2",
        "state=build",
        "state=send,build",
        "state!=sleep",
        "load>4",
        "load>=7.91",
        "disk>85",
        "disk>85%",
        "disk=93",
        "mem<61",
        "temp>78",
        "temp=79",
        "slow>3",
        "slow>x3",
        "time>1h",
        "time>1h30",
        "time<2h00m01s",
        "time=2h",
        "time>90m",
        "eta<5m",
        "alert",
        "alert~disk",
        "cmd",
        "cmd=skip",
        "!label~rack2",
        "!rack2",
        "!!rack1",
        "!swap>0",
        '!"pi 4"',
        "state=build abi=cp311 load>4 !label~rack2 alert",
    ],
)
def test_filter_matches(builder, text):
    assert parse(text).matches(builder)


@pytest.mark.parametrize(
    "text",
    [
        "rack2",
        "rack1 rack2",
        "abi=cp39",
        "!abi=cp311",
        "abi!=cp39,cp311",
        "abi=cp31",
        "state=sleep,send",
        "state!=build",
        "load<4",
        "disk!=93",
        "swap>0",
        "swap<100",
        "time<1h30",
        "skew>0",
        "!alert",
        "!cmd",
        "cmd=resume",
    ],
)
def test_filter_does_not_match(builder, text):
    assert not parse(text).matches(builder)


def test_comparisons_with_an_unknown_value_do_not_match():
    bare = make_row()
    for text in ("load>0", "load<=0", "temp<1", "disk!=5", "slow>0", "eta<1h", "alert", "cmd"):
        assert not parse(text).matches(bare), text


@pytest.mark.parametrize(
    ("text", "column", "why"),
    [
        ("abi=cp311 speed>3", 11, "no field speed"),
        ("state=bild", 7, "no state bild"),
        ("!state=build,x", 8, "no state x"),
        ("state>build", 6, "take"),
        ("load>much", 6, "not a number"),
        ("load>1,2", 6, "one number"),
        ("time>soon", 6, "not a duration"),
        ("time>,", 6, "not a duration"),
        ("rack1 load~4", 11, "numbers take"),
        ("label>5", 6, "texts take"),
        ("abi=", 5, "abi needs a value"),
        ("rack1 !", 7, "must follow"),
        ('rack1 label="pi', 13, "unbalanced"),
    ],
)
def test_an_error_says_what_is_wrong_and_where(text, column, why):
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.column == column
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("r1", "pi4-rack1-01", True),
        ("pr101", "pi4-rack1-01", True),
        ("rack1", "pi4-rack2-01", False),  # an operator may mark all matches
        ("rack1", "pi4-rack12-01", True),
        ("r2", "pi4-rack12-01", False),
        ("np", "numpy", False),
        ("", "", True),
        ("x", "", False),
    ],
)
def test_words_match_by_their_parts(word, text, found):
    assert fuzzy(word, text) is found


_SYNTAX = st.lists(
    st.sampled_from([*FIELDS, *'!"=<>~ ,.%x-1', "1h", "build", "<=", "!=", "é", "\n", "\u202e"])
).map("".join)


@given(st.one_of(st.text(), _SYNTAX))
def test_any_text_is_parsed_or_raises_a_query_error(text):
    row = make_row()
    row.slave.stats.append(SlaveStats(NOW, 2**62, 1, 1, 2, 0, 0, float("nan"), float("inf")))
    try:
        query = parse(text)
    except QueryError as error:
        column = error.column
    else:
        column = 1
        query.matches(row)
    assert 1 <= column <= len(text) + 1
