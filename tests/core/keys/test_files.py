"""The files of keys: who can read them, and what happens to a damaged one."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from piwheels.core.errors import Fatal
from piwheels.core.keys.files import KeyFolder, new_pair, read_pair, write_pair
from piwheels.core.keys.ring import KEY, Enrolled, Role

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_a_key_file_is_private_and_complete(tmp_path):
    path = tmp_path / "new/board7.key"
    pair = new_pair(master=new_pair().public)
    write_pair(path, pair)
    assert read_pair(path) == pair
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(KEY.fullmatch(key) and key not in repr(pair)[9:-1] for key in pair[1:])
    with pytest.raises(Fatal, match="exists already"):
        write_pair(path, pair)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.chmod(0o640), "others can read the secret key .*: run chmod 600"),
        (lambda path: path.write_text('public = "x"'), "is not a key file"),
        (lambda path: path.write_text(path.read_text().replace('secret = "', 'secret = "x')),
         "is not a key file"),
        (lambda path: path.write_text(re.sub('public = ".', 'public = "~', path.read_text())),
         "is not a key file"),
        (lambda path: path.write_bytes(b"\xff"), "not a text"),
        (lambda path: path.unlink(), "cannot read the key"),
    ],
)  # fmt: skip
def test_a_damaged_key_file_is_refused(tmp_path, change, why):
    path = tmp_path / "board7.key"
    write_pair(path, new_pair())
    change(path)
    with pytest.raises(Fatal, match=why):
        read_pair(path)


def test_the_master_has_one_key_pair(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    with ThreadPoolExecutor(4) as pool:
        pairs = set(pool.map(lambda _: KeyFolder(folder.path).pair(), range(8)))
    assert pairs == {folder.pair()}


def test_changes_at_the_same_time_are_all_kept(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    assert not folder.ring().keys

    def enrol(number):
        new = Enrolled(Role.SLAVE, f"board{number}", new_pair().public, NOW)
        folder.change(lambda ring: ring.enrol(new, NOW))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enrol, range(24)))
    assert len(folder.ring().keys) == 24
    assert {path.name for path in folder.path.iterdir()} == {"ring", "lock"}


def test_the_last_contact_of_each_key_is_kept(tmp_path):
    folder = KeyFolder(tmp_path)
    folder.write_seen({"a": (NOW, "192.0.2.7"), "b": (NOW, "")})
    folder.write_seen({"a": (NOW, "192.0.2.8")})
    seen = folder.seen()
    assert seen == {"a": "2026-01-31T12:00:00Z 192.0.2.8", "b": "2026-01-31T12:00:00Z "}
