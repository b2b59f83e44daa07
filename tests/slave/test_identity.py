"""The identity of a slave: kept on the disk, bound to the machine."""

import stat

import pytest

from piwheels.slave.identity import identity


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "piwheels"


def board(folder, serial):
    (folder / "proc").mkdir(parents=True)
    (folder / "proc/cpuinfo").write_text(f"processor\t: 0\nSerial\t\t: {serial}\n")
    return folder


def test_a_slave_keeps_its_identity_in_a_private_file(home):
    one = identity("board", "/usr/bin/python3")
    assert len(one) == 32
    assert identity("board", "/usr/bin/python3") == one
    assert identity("other", "/usr/bin/python3") != one != identity("board", "/opt/python3")
    (file,) = home.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("slave.id", 0o600)
    assert one not in file.read_text()


def test_a_copy_of_the_disk_in_another_board_has_another_identity(tmp_path):
    boards = [board(tmp_path / serial, serial) for serial in ("10000000aa", "10000000bb")]
    first, second = (identity("board", root=root) for root in boards)
    assert first != second
    assert identity("board", root=boards[0]) == first


@pytest.mark.parametrize("content", [b"", b"\xff" * 300, b"short\n"])
def test_a_damaged_file_is_replaced(home, content):
    one = identity("board")
    (home / "slave.id").write_bytes(content)
    two = identity("board")
    assert identity("board") == two != one
    assert len(list(home.iterdir())) == 1


def test_a_slave_without_a_place_for_its_identity_has_one_all_the_same(home, caplog):
    home.write_text("a file where the folder should be")
    one = identity("board")
    assert len(one) == 32
    assert identity("board") != one
    assert "cannot keep the identity" in caplog.text
