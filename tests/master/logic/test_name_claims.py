"""Two files that arrive at the same time never get one name for different content."""

from piwheels.master.logic.name_claims import CLAIM_SECONDS, NameClaims


def test_a_name_has_one_content():
    names = NameClaims()
    assert names.claim(1, "a.whl", "11", now=0.0)
    assert not names.is_free("a.whl", "22")
    assert not names.claim(2, "a.whl", "22", now=0.0)
    assert names.claim(2, "a.whl", "11", now=1.0)
    assert names.claim(2, "b.whl", "22", now=0.0)
    names.expire(CLAIM_SECONDS + 0.5)
    assert not names.is_free("a.whl", "22"), "the claim was renewed"
    assert names.is_free("b.whl", "33")
    names.expire(CLAIM_SECONDS + 2)
    assert names.claim(2, "a.whl", "22", now=0.0)


def test_a_name_is_free_when_no_claim_remains():
    names = NameClaims()
    assert not names.release(1, "a.whl")
    for sender in (1, 2):
        assert names.claim(sender, "a.whl", "11", now=0.0)
    assert not names.release(1, "a.whl")
    assert not names.release(1, "a.whl")
    assert not names.is_free("a.whl", "22")
    assert names.release(2, "a.whl")
    assert names.is_free("a.whl", "22")
