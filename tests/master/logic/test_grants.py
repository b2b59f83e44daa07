"""Which holders of keys may return with which builds."""

from piwheels.master.logic import grants
from piwheels.master.logic.grants import MAX_AGE, Grants
from slave_messages import target_for

DEMO, OTHER = ("demo", "1.0", target_for("cp311")), ("other", "1.0", target_for("cp311"))


def test_a_holder_returns_with_what_it_was_given():
    given = Grants()
    given.add(DEMO, "one", 0)
    given.add(DEMO, "two", 1)
    assert [given.has(DEMO, name) for name in ("one", "two", "three", "")] == [
        True, True, False, True,
    ]  # fmt: skip
    assert not given.has(OTHER, "one")


def test_old_grants_are_forgotten(monkeypatch):
    given = Grants()
    given.add(DEMO, "one", 0)
    given.add(DEMO, "two", 1)
    given.add(DEMO, "one", MAX_AGE)  # again
    given.add(OTHER, "three", MAX_AGE + 2)
    assert [given.has(DEMO, name) for name in ("one", "two")] == [True, False]
    monkeypatch.setattr(grants, "MOST_GRANTS", 2)
    for number in range(10):
        given.add(OTHER, f"board{number}", MAX_AGE + 3)
    assert [given.has(OTHER, f"board{number}") for number in range(7, 10)] == [False, True, True]
