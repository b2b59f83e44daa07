"""The key ring: its file, its changes, and who is admitted."""

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.errors import Refused
from piwheels.core.keys.ring import Enrolled, Ring, Role, fingerprint, parse_ring

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
LATER = NOW + WEEK
A, B, C = ("a" * 40, "b" * 40, "c" * 40)
BOARD = Enrolled(Role.SLAVE, "board7", A, NOW)
DAVE = Enrolled(Role.OPERATE, "dave", B, NOW, LATER)


def valid(ring, now=NOW):
    return {key.public for key in ring.keys.values() if not key.why_invalid(now)}


@pytest.fixture
def ring():
    return Ring().enrol(BOARD, NOW).enrol(DAVE, NOW)


def test_the_file_keeps_everything(ring):
    assert parse_ring(str(ring)) == ring
    revoked = ring.revoke("dave", NOW)[0]
    assert parse_ring(str(revoked)) == revoked
    moved = ring.move("board7", ("linux_armv7l", "linux_aarch64"))
    assert "platform=linux_armv7l,linux_aarch64\n" in str(moved)
    assert parse_ring(str(moved)) == moved


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"slave board8 {C}", "no role, name, key and time"),
        (f"slave board8 {C} until=2027-01-31T12:00:00Z", "since="),
        (f"king board8 {C} since=2026-01-31T12:00:00Z", "'king' is not a role"),
        (f"slave ../8 {C} since=2026-01-31T12:00:00Z", "is not a name"),
        (f"slave board8 {C[1:]} since=2026-01-31T12:00:00Z", "no valid key"),
        (f"slave board8 {C} since=2026-01-31", "is not a time"),
        (f"slave board8 {C} since=2026-13-31T12:00:00Z", "month must be"),
        (f"slave board8 {C} since=2026-01-31T12:00:00Z revoked=", "is not a time"),
        (f"slave board8 {C} since=2026-01-31T12:00:00Z platform=", "is not a platform"),
        (f"slave board8 {C} since=2026-01-31T12:00:00Z platform=x86_64", "is not a platform"),
        (f"slave board8 {C} since=2026-01-31T12:00:00Z platform=linux_x86_64,", "not a platform"),
        (f"slave board8 {C} since=2026-01-31T12:00:00Z revokd=2026-01-31T12:00:00Z", "'revokd="),
    ],
)
def test_a_bad_line_admits_nobody_and_locks_nobody_out(ring, line, why):
    found = parse_ring(f"{ring}{line}\n")
    assert valid(found) == {A, B}
    (problem,) = found.problems
    assert problem.startswith("line 4 is ignored: ")
    assert why in problem
    assert line in str(found.revoke("dave", NOW)[0]).splitlines()  # it stays in the file
    if C in line:
        with pytest.raises(Refused, match="in the ring already"):
            found.enrol(Enrolled(Role.SLAVE, "board9", C, NOW), NOW)


def test_a_key_on_two_lines_is_not_valid(ring):
    found = parse_ring(f"{ring}{DAVE._replace(name='eve', role=Role.ADMINISTER)}\n")
    assert valid(found) == {A}
    assert len(found.problems) == 2


@given(st.text(st.sampled_from(string.printable + "\0é\u2028"), max_size=300))
def test_no_text_admits_a_key_that_it_does_not_name(text):
    found = parse_ring(f"{BOARD}\n{text}")
    assert found.keys.keys() <= {A, *text.split()}
    assert parse_ring(str(found)).keys == found.keys


def test_a_valid_key_has_a_holder(ring):
    assert ring.holder(A, NOW) is ring.keys[A]
    with pytest.raises(Refused, match=rf"a key that is not enrolled \({fingerprint(C)}\)"):
        ring.holder(C, NOW)
    with pytest.raises(Refused, match="key of dave has expired on 2026-02-07"):
        ring.holder(B, LATER)
    with pytest.raises(Refused, match="key of board7 was revoked on 2026-01-31"):
        ring.revoke("board7", NOW)[0].holder(A, NOW)


def test_a_name_has_one_valid_key_unless_it_rotates(ring):
    new = Enrolled(Role.SLAVE, "board7", C, NOW)
    with pytest.raises(Refused, match="board7 has a valid key already"):
        ring.enrol(new, NOW)
    assert valid(ring.revoke("board7", NOW)[0].enrol(new, NOW)) == {B, C}


def test_keys_overlap_while_they_rotate(ring):
    rotated = ring.rotate("board7", C, NOW, WEEK)
    assert valid(rotated) == {A, B, C}
    assert valid(rotated, LATER) == {C}
    assert rotated.keys[C] == Enrolled(Role.SLAVE, "board7", C, NOW)
    # It prolongs no key, and a second rotation ends both.
    assert rotated.rotate("dave", "d" * 40, NOW, 2 * WEEK).keys[B].until == LATER
    with pytest.raises(Refused, match="in the ring already"):
        rotated.rotate("board7", C, NOW, WEEK)
    with pytest.raises(Refused, match="dave has no valid key"):
        ring.rotate("dave", C, LATER, WEEK)


@pytest.mark.parametrize("who", ["board7", A, fingerprint(A)])
def test_all_names_of_a_key_revoke_it(ring, who):
    revoked, keys = ring.revoke(who, NOW)
    assert keys == [BOARD]
    assert valid(revoked) == {B}
    for again, why in ((who, "revoked already"), ("nobody", "no key is enrolled for nobody")):
        with pytest.raises(Refused, match=why):
            revoked.revoke(again, NOW)


def test_an_invitation_is_valid_once():
    invitation = Enrolled(Role.JOIN, "board7", C, NOW, LATER)
    ring = Ring().enrol(invitation, NOW)
    joined = ring.redeem(C, A, NOW)
    assert joined.holder(A, NOW) == BOARD
    with pytest.raises(Refused, match="not enrolled"):
        joined.redeem(C, B, NOW)
    with pytest.raises(Refused, match="expired"):
        ring.redeem(C, A, LATER)
    with pytest.raises(Refused, match="not an invitation"):
        joined.redeem(A, B, NOW)


def test_a_slave_is_for_its_first_platform_or_those_of_an_administrator(ring):
    pinned = ring.pin(A, ["linux_armv7l"], NOW)
    assert pinned.pin(A, ["linux_armv7l"], NOW) == pinned
    with pytest.raises(Refused, match=r"is for linux_armv7l, not for linux_armv6l: .* piw-keys"):
        pinned.pin(A, ["linux_armv6l"], NOW)
    with pytest.raises(Refused, match=r"not for linux_armv6l: .* --platform linux_armv6l --plat"):
        pinned.pin(A, ["linux_armv6l", "linux_armv7l"], NOW)
    several = ring.pin(A, ["linux_aarch64", "linux_armv7l"], NOW)
    assert several.keys[A].platforms == ("linux_aarch64", "linux_armv7l")
    both = pinned.move("board7", ("linux_armv7l", "linux_aarch64"))
    assert not both.holder(A, NOW).why_not_for("linux_aarch64")
    assert both.rotate("board7", C, NOW, WEEK).holder(C, NOW).platforms == both.keys[A].platforms
    assert not both.move("board7", ()).holder(A, NOW).why_not_for("win_amd64")
    with pytest.raises(Refused, match="dave is no slave"):
        ring.move("dave", ("linux_armv7l",))
    with pytest.raises(Refused, match="is not a platform"):
        ring.pin(A, ["linux_armv6l", "linux_armv7l since=x"], NOW)
    invitation = Enrolled(Role.JOIN, "board8", C, NOW, LATER, platforms=("linux_armv6l",))
    joined = ring.enrol(invitation, NOW).redeem(C, "d" * 40, NOW)
    assert joined.keys["d" * 40].platforms == ("linux_armv6l",)


def test_expired_invitations_are_forgotten(ring):
    first = Enrolled(Role.JOIN, "board8", C, NOW, LATER)
    second = first._replace(public="d" * 40, until=LATER + WEEK)
    with pytest.raises(Refused, match="board8 has a valid key already"):
        ring.invite(first, NOW).invite(second, NOW)
    assert valid(ring.invite(first, NOW).invite(second, LATER), LATER) == {A, "d" * 40}
    assert C not in str(ring.invite(first, NOW).invite(second, LATER))


def test_operators_may_do_more_and_more():
    may = {role: [other for other in Role if role.includes(other)] for role in Role}
    assert may == {
        Role.SLAVE: [Role.SLAVE],
        Role.VIEW: [Role.VIEW],
        Role.OPERATE: [Role.VIEW, Role.OPERATE],
        Role.ADMINISTER: [Role.VIEW, Role.OPERATE, Role.ADMINISTER],
        Role.LOG: [Role.LOG],
        Role.JOIN: [Role.JOIN],
    }
