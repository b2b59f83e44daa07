"""No two files that come in at once get one name for different bytes."""

from piwheels.master.logic.name_claims import CLAIM_SECONDS, NameClaims


def test_a_name_is_for_one_content():
    names = NameClaims()
    assert names.claim(1, "a.whl", "11", now=0.0)
    assert not names.is_free("a.whl", "22")
    assert not names.claim(2, "a.whl", "22", now=0.0)
    assert names.claim(2, "a.whl", "11", now=1.0)
    assert names.claim(2, "b.whl", "22", now=0.0)
    names.expire(CLAIM_SECONDS + 0.5)
    assert not names.is_free("a.whl", "22"), "it was given anew"
    assert names.is_free("b.whl", "33")
    names.expire(CLAIM_SECONDS + 2)
    assert names.claim(2, "a.whl", "22", now=0.0)


def test_only_what_is_nobody_elses_may_go():
    names = NameClaims()
    assert not names.release(1, "a.whl")
    for who in (1, 2):
        assert names.claim(who, "a.whl", "11", now=0.0)
    assert not names.release(1, "a.whl")
    assert not names.release(1, "a.whl")
    assert not names.is_free("a.whl", "22")
    assert names.release(2, "a.whl")
    assert names.is_free("a.whl", "22")
