"""A wheel with other tags is valid, and otherwise the same."""

import zipfile

import pytest

from piwheels.core.errors import BadWheel
from piwheels.core.wheels import integrity
from piwheels.core.wheels.inspection import inspect_wheel
from piwheels.core.wheels.integrity import verify_wheel
from piwheels.core.wheels.retagging import retag
from piwheels.core.wheels.tags import for_one_python, parse_filename
from wheels import zip_wheel

INFO = "foo-1.0.dist-info"


def plant(folder, tags="py3-none-any", **files):
    """Write a wheel of foo with *tags* and *files*; return its path."""
    about = "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"
    wheel = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n"
    path = folder / f"foo-1.0-{tags}.whl"
    inside = {"foo/a.py": "a = 1\n", **files, f"{INFO}/METADATA": about, f"{INFO}/WHEEL": wheel}
    path.write_bytes(zip_wheel(inside, INFO))
    return path


@pytest.mark.parametrize(
    ("before", "abi", "after"),
    [
        ("py3-none-any", "cp311", "cp311-none-any"),
        ("py2.py3-none-any", "cp313t", "cp313-none-any"),
        ("cp311-none-any", "cp311", "cp311-none-any"),
        ("py311-none-any", "cp311", "cp311-none-any"),
        ("py3-none-linux_x86_64", "cp311", "cp311-none-linux_x86_64"),
        ("cp39-abi3-linux_x86_64", "cp311", "cp311-cp311-linux_x86_64"),
        ("cp315-abi3.abi3t-linux_x86_64", "cp315t", "cp315-cp315t-linux_x86_64"),
        ("cp311-cp311-linux_x86_64", "cp311", "cp311-cp311-linux_x86_64"),
        ("py3-none-any", "pypy310_pp73", "pp310-none-linux_armv7l"),
        ("py3-none-any", "graalpy311_70", "py3-none-any"),
    ],
)
def test_the_tags_of_one_python(before, abi, after):
    name = parse_filename(f"foo-1.0-1-{before}.whl")
    assert str(for_one_python(name, abi, "linux_armv7l")) == f"foo-1.0-1-{after}.whl"


def test_a_retagged_wheel_is_valid(tmp_path):
    path = plant(tmp_path)
    with zipfile.ZipFile(path) as old:
        before = {each: old.read(each) for each in old.namelist()}
    made = retag(path, parse_filename("foo-1.0-cp311.cp312-none-any.whl"))
    assert [each.name for each in tmp_path.iterdir()] == [made.name]
    assert verify_wheel(made).tags == ("cp311-none-any", "cp312-none-any")
    with zipfile.ZipFile(made) as new:
        after = {each: new.read(each) for each in new.namelist()}
    changed = {each for each in before if before[each] != after.get(each)}
    assert changed == {f"{INFO}/WHEEL", f"{INFO}/RECORD"}
    assert list(before) == list(after)


def test_a_wheel_for_the_stable_abi_becomes_one_for_its_own(tmp_path):
    path = plant(tmp_path, "cp39-abi3-linux_x86_64")
    made = retag(path, for_one_python(parse_filename(path.name), "cp311", ""))
    assert inspect_wheel(made).tags == ("cp311-cp311-linux_x86_64",)


def test_a_wheel_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = plant(tmp_path)
    monkeypatch.setattr(integrity, "MAX_CONTENT", 10)
    with pytest.raises(BadWheel, match="too many"):
        retag(path, parse_filename("foo-1.0-cp311-none-any.whl"))


def test_no_file_is_overwritten(tmp_path):
    path = plant(tmp_path)
    (tmp_path / "foo-1.0-cp311-none-any.whl").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        retag(path, parse_filename("foo-1.0-cp311-none-any.whl"))
    assert path.exists()
