"""Sources that leave their requirements open are found, whatever a build has left there."""

import os

import pytest

from piwheels.slave.dynamic import MAX_BYTES, has_dynamic_requirements

INFO = b"Metadata-Version: 2.2\nName: foo\nVersion: 1.0\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (INFO + b"Dynamic: Requires-Dist\n", True),
        (INFO + b"dynamic: license-file\r\nDynamic:requires-dist \r\n\r\nabout\r\n", True),
        (INFO + b"Dynamic: Requires-Python\n", False),
        (INFO + b"\nDynamic: Requires-Dist\n", False),
        (INFO + b"X-Dynamic: Requires-Dist\n", False),
        (INFO + b"A: " + b"a" * MAX_BYTES + b"\nDynamic: Requires-Dist\n", False),
        (b"\xff" + INFO + b"Dynamic: Requires-Dist", True),
    ],
)
def test_the_metadata_of_a_source(tmp_path, text, expected):
    for number, place in enumerate(("tmp/pip-wheel-ab12/foo_0123", "source")):
        work = tmp_path / str(number)
        (work / place).mkdir(parents=True)
        (work / place / "PKG-INFO").write_bytes(text)
        assert has_dynamic_requirements(work) is expected


def test_what_is_no_source_of_pip(tmp_path):
    assert not has_dynamic_requirements(tmp_path / "nothing")
    tmp = tmp_path / "tmp"
    for folder in ("pip-build-env-1/foo", "pip-wheel-1/deeper/foo", "pip-wheel-2"):
        (tmp / folder).mkdir(parents=True)
        (tmp / folder / "PKG-INFO").write_bytes(INFO + b"Dynamic: Requires-Dist\n")
    (tmp / "pip-wheel-3").write_text("a file")
    (tmp / "pip-wheel-2/link").symlink_to(tmp / "pip-build-env-1/foo")
    (tmp / "pip-wheel-2/pipe").mkdir()
    os.mkfifo(tmp / "pip-wheel-2/pipe/PKG-INFO")
    assert not has_dynamic_requirements(tmp_path)
