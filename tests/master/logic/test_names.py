"""No two files that come in at once get one name for different bytes."""

from piwheels.master.logic.names import KEPT, Names


def test_a_name_is_for_one_content():
    names = Names()
    assert names.claim(1, "a.whl", "11")
    assert not names.claim(2, "a.whl", "22")
    assert names.claim(2, "a.whl", "11")
    assert names.claim(3, "b.whl", "22")
    names.place(1, "a.whl", "11", now=0.0)
    assert not names.claim(4, "a.whl", "22")
    names.expire(KEPT + 1)
    names.release(2, "a.whl")
    assert names.claim(4, "a.whl", "22")


def test_a_claim_ends_with_its_transfer():
    names = Names()
    assert names.claim(1, "a.whl", "11")
    names.release(1, "b.whl")
    assert not names.claim(2, "a.whl", "22")
    names.release(1, "a.whl")
    assert names.claim(2, "a.whl", "22")
    assert names.claim(2, "b.whl", "22"), "whoever claims another name gives the first up"
    assert names.claim(1, "a.whl", "11")


def test_only_what_is_nobody_elses_may_go():
    names = Names()
    assert not names.withdraw(1, "a.whl")
    for who in (1, 2):
        assert names.claim(who, "a.whl", "11")
        names.place(who, "a.whl", "11", now=0.0)
    assert names.claim(3, "a.whl", "11")
    assert not names.withdraw(1, "a.whl")
    assert not names.withdraw(2, "a.whl"), "a third sends the same"
    assert not names.withdraw(2, "a.whl")
    names.place(3, "a.whl", "11", now=0.0)
    assert names.withdraw(3, "a.whl")
    assert names.claim(4, "a.whl", "22")
