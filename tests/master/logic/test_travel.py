"""Calls of the database's methods travel and arrive as they were."""

import inspect
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core import codec
from piwheels.core.database.rows import RewritePendingRow, SimpleFile, SimpleProject
from piwheels.core.errors import BadMessage, Refused
from piwheels.core.schema import schema_of
from piwheels.core.states import BuildState, DownloadState, FileState, PageState
from piwheels.master.logic.travel import methods_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=UTC)


def sent(hint, value):
    """Send *value* as a *hint* and return what arrives."""
    schema = schema_of(hint, internal=True)
    _, data = codec.loads(codec.dumps("OK", schema.pack(value)))
    return schema.validate(data)


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
    file = FileState(
        "a-1-py3-none-any.whl", 5, "0" * 64, "a", "1", "py3", "none", "any", None, {"apt": ["x"]}
    )
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


class Example:
    """Methods to call."""

    def method(self, package: str, seen: datetime | None = None) -> None:
        """Do nothing."""

    def plain(self, package: str, limit: int = 10) -> set[str]:
        """Do nothing."""
        return set()

    def close(self) -> None:
        """Do nothing."""


def test_arguments_travel_in_order_with_their_defaults():
    methods = methods_of(Example, {"close"})
    assert set(methods) == {"method", "plain"}
    assert methods["plain"].pack(["a"], {}) == ["a", 10]
    assert methods["plain"].pack([], {"limit": 1, "package": "b"}) == ["b", 1]
    assert list(methods["plain"].signature.parameters) == ["package", "limit"]
    with pytest.raises(TypeError):
        methods["plain"].pack([], {})
    with pytest.raises(BadMessage):
        methods["plain"].unpack(["a"])
    with pytest.raises(BadMessage):
        methods["plain"].unpack(7)


def test_every_method_of_the_database_can_travel():
    from piwheels.core.database import Database  # noqa: PLC0415
    from piwheels.master.the_oracle import LOCAL, DbClient, methods  # noqa: PLC0415

    public = {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(Database, inspect.isfunction)
        if not name.startswith("_") and name not in LOCAL
    }
    assert public.keys() == methods().keys()
    assert {name: inspect.signature(getattr(DbClient, name)) for name in public} == public
    assert all(len(methods()[n].args) == len(s.parameters) - 1 for n, s in public.items())
