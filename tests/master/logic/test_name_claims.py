"""No two files that come in at once get one name for different bytes."""

from piwheels.master.logic.name_claims import KEPT, Names


def test_a_name_is_for_one_content():
    names = Names()
    assert names.give(1, "a.whl", "11", now=0.0)
    assert not names.may_be("a.whl", "22")
    assert not names.give(2, "a.whl", "22", now=0.0)
    assert names.give(2, "a.whl", "11", now=1.0)
    assert names.give(2, "b.whl", "22", now=0.0)
    names.expire(KEPT + 0.5)
    assert not names.may_be("a.whl", "22"), "it was given anew"
    assert names.may_be("b.whl", "33")
    names.expire(KEPT + 2)
    assert names.give(2, "a.whl", "22", now=0.0)


def test_only_what_is_nobody_elses_may_go():
    names = Names()
    assert not names.take_back(1, "a.whl")
    for who in (1, 2):
        assert names.give(who, "a.whl", "11", now=0.0)
    assert not names.take_back(1, "a.whl")
    assert not names.take_back(1, "a.whl")
    assert not names.may_be("a.whl", "22")
    assert names.take_back(2, "a.whl")
    assert names.may_be("a.whl", "22")
