"""The options of programs with keys."""

import pytest

from piwheels.core.errors import Fatal
from piwheels.core.keys.files import new_pair, write_pair
from piwheels.core.keys.options import client_pair, holder_name, public_key

MASTER = new_pair().public


@pytest.mark.parametrize("named_by", ["the file", "the option", "both"])
def test_a_program_knows_its_key_and_that_of_the_master(tmp_path, named_by):
    path, other = tmp_path / "dave.key", new_pair().public
    write_pair(path, pair := new_pair(MASTER if named_by != "the option" else ""))
    given = [] if named_by == "the file" else [other]
    assert client_pair(path, given) == pair._replace(master=other if given else MASTER)
    assert client_pair(path, [MASTER, other]).master == f"{MASTER},{other}"


def test_a_program_without_a_key_has_none(tmp_path):
    assert client_pair(None, []) is None
    with pytest.raises(Fatal, match="--master-key needs --key"):
        client_pair(None, [MASTER])
    write_pair(tmp_path / "dave.key", new_pair())
    with pytest.raises(Fatal, match="does not name the master: add --master-key"):
        client_pair(tmp_path / "dave.key", [])


def test_keys_and_names_are_checked():
    assert (public_key(MASTER), public_key(""), holder_name("dave@ops")) == (MASTER, "", "dave@ops")
    for parse in (public_key, holder_name):
        for text in ("a b", "-", "ä", "x" * 80, f"{MASTER}\n"):
            with pytest.raises(ValueError, match="is not a"):
                parse(text)
