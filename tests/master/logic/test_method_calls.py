"""Calls of methods as messages: names, arguments with their defaults, results."""

import inspect
from datetime import datetime

import pytest

from piwheels.core.errors import BadMessage
from piwheels.master.logic.method_calls import methods_of


class Example:
    """Methods to call."""

    def method(self, package: str, seen: datetime | None = None) -> None:
        """Do nothing."""

    def plain(self, package: str, limit: int = 10) -> set[str]:
        """Do nothing."""
        return set()

    def close(self) -> None:
        """Do nothing."""


def test_arguments_are_sent_in_order_with_their_defaults():
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


def test_every_method_of_the_database_can_be_sent():
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
