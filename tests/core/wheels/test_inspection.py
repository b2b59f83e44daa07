from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piwheels.core.errors import BadWheel
from piwheels.core.wheels import inspection
from piwheels.core.wheels.inspection import inspect_wheel, is_portable

if TYPE_CHECKING:
    from pathlib import Path

NAME = "demo_pkg-1.0-py3-none-any.whl"
INFO = "demo_pkg-1.0.dist-info"
METADATA = (
    "Metadata-Version: 2.1\nName: Demo.pkg\nVersion: 1.0\nRequires-Python: >=3.8,\n  <4\n"
    "Requires-Dist: six\nRequires-Dist: attrs; extra == 'x'\n\nName: not this one\n"
)
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make(
    folder: Path, changes: dict[str, str | bytes | None] | None = None, **options: int
) -> Path:
    files: dict[str, str | bytes | None] = {
        "demo.py": "x = 1\n",
        f"{INFO}/METADATA": METADATA,
        f"{INFO}/WHEEL": WHEEL,
        f"{INFO}/RECORD": "",
        **(changes or {}),
    }
    path = folder / NAME
    with zipfile.ZipFile(path, "w", options.get("compression", zipfile.ZIP_DEFLATED)) as archive:
        for name, data in files.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def refused(path: Path, *words: str, **asked: str) -> None:
    with pytest.raises(BadWheel) as caught:
        inspect_wheel(path, **asked)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "portable"),
    [
        ("demo/data", "text", True),
        ("demo/empty.so.txt", "", True),
        ("demo/run", b"\x7fELF\2\1\1", False),
        ("demo/_speed.abi3.so", "", False),
        ("demo/libz.so.1", "", False),
    ],
)
def test_whether_a_wheel_is_for_any_machine(
    tmp_path: Path, name: str, data: str | bytes, portable: bool
) -> None:
    assert is_portable(make(tmp_path, {name: data})) is portable


def test_the_state_of_a_valid_wheel(tmp_path: Path) -> None:
    result = inspect_wheel(make(tmp_path), package="DEMO-pkg", version="1.0.0")
    assert result.name == "Demo.pkg"
    assert result.version == "1.0"
    assert result.requires_python == ">=3.8, <4"
    assert result.metadata == METADATA.encode()
    assert result.requires_dist == ("six", "attrs; extra == 'x'")
    assert result.tags == ("py3-none-any",)


def test_the_published_name_counts(tmp_path: Path) -> None:
    path = make(tmp_path).rename(tmp_path / "upload.tmp")
    assert inspect_wheel(path, filename=NAME).name == "Demo.pkg"
    refused(path, "not the name of a wheel")
    refused(path, "other", filename="other-1.0-py3-none-any.whl", package="demo-pkg")


@pytest.mark.parametrize(
    "tags", ["", "Tag: nonsense\n", "Tag: py2-none-any\nTag: cp311.cp312-none.cp312-any\n"]
)
def test_a_file_may_be_named_for_any_abi_that_it_has(tmp_path: Path, tags: str) -> None:
    assert inspect_wheel(make(tmp_path, {f"{INFO}/WHEEL": f"Wheel-Version: 1.0\n{tags}"})).tags == (
        tuple(line.removeprefix("Tag: ") for line in tags.splitlines())
    )


@pytest.mark.parametrize("text", [">=3.8;", "banana", "", ">=3.8\x07"])
def test_an_invalid_specifier_becomes_none(tmp_path: Path, text: str) -> None:
    path = make(
        tmp_path, {f"{INFO}/METADATA": f"Name: demo-pkg\nVersion: 1.0\nRequires-Python: {text}\n"}
    )
    assert inspect_wheel(path).requires_python is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{INFO}/METADATA": None}, ["no METADATA"]),
        ({f"{INFO}/RECORD": None}, ["no RECORD"]),
        ({f"{INFO}/WHEEL": None}, ["no WHEEL"]),
        ({f"{INFO}/WHEEL": "Wheel-Version: 2.0\n"}, ["2.0"]),
        ({f"{INFO}/WHEEL": f"{WHEEL[:19]}Tag: cp312-cp312-any\n"}, ["'none'", "'cp312'"]),
        ({f"{INFO}/METADATA": "Name: other\nVersion: 1.0\n"}, ["other", "demo_pkg"]),
        ({f"{INFO}/METADATA": "Name: demo_pkg\nVersion: 1.1\n"}, ["1.1", "1.0"]),
        ({f"{INFO}/METADATA": "Name: demo_pkg\nName: x\nVersion: 1.0\n"}, ["'Name'"]),
        ({f"{INFO}/METADATA": b"\xff" * 100}, ["pip refuses METADATA: 'utf-8' codec"]),
        ({f"{INFO}/METADATA": "Name: demo_pkg\nVersion: 1.0\n\n" + "x" * 6 * 2**20}, ["longer"]),
        ({"other-1.dist-info/METADATA": ""}, ["2 dist-info"]),
        ({"../evil": ""}, ["outside", "../evil"]),
        ({"/etc/passwd": ""}, ["outside"]),
        ({"a\\..\\b": ""}, ["outside"]),
        ({"c:/x": ""}, ["outside"]),
    ],
)
def test_bad_wheels(
    tmp_path: Path, changes: dict[str, str | bytes | None], words: list[str]
) -> None:
    refused(make(tmp_path, changes), *words)


def test_a_wheel_of_another_package_or_version_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path)
    refused(path, "'other'", package="other", version="1.0")
    refused(path, "'2.0'", package="demo-pkg", version="2.0")


def test_odd_files(tmp_path: Path) -> None:
    refused(tmp_path / NAME, "No such file")
    (tmp_path / NAME).symlink_to("/etc/passwd")
    refused(tmp_path / NAME, "not a valid zip")
    (tmp_path / NAME).unlink()
    os.mkfifo(tmp_path / NAME)
    refused(tmp_path / NAME, "regular")
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    refused(tmp_path / NAME)


def test_data_before_and_after(tmp_path: Path) -> None:
    path = make(tmp_path)
    good = path.read_bytes()
    path.write_bytes(b"#!/bin/sh\n" + good)
    refused(path, "begin")
    path.write_bytes(good + b"more")
    refused(path, "after its end")


def test_odd_compression_encryption_and_duplicates(tmp_path: Path) -> None:
    refused(make(tmp_path, compression=zipfile.ZIP_LZMA), "compression method")
    path = make(tmp_path)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    refused(path, "encrypted")
    path = make(tmp_path, {"demo_py": "x"})
    path.write_bytes(path.read_bytes().replace(b"demo_py", b"demo.py"))
    refused(path, "twice")


def test_an_entry_that_lies_about_its_size(tmp_path: Path) -> None:
    path = make(tmp_path, {f"{INFO}/METADATA": METADATA + "x" * 2**24})
    data = bytearray(path.read_bytes())
    at = data.rindex(f"{INFO}/METADATA".encode()) - 46
    data[at + 24 : at + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    tracemalloc.start()
    refused(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_ten_million_entries(tmp_path: Path) -> None:
    count, entry = 10_000_000, struct.pack("<4s42x", b"PK\x01\x02")
    path = tmp_path / NAME
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        block = entry * 100_000
        for _ in range(8):  # the rest is a hole: the claim is what matters
            file.write(block)
        file.truncate(4 + count * 46)
        file.seek(0, os.SEEK_END)
        end = struct.pack(
            "<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *[count] * 2, count * 46, 4
        )
        file.write(end + struct.pack("<4sIQI", b"PK\x06\x07", 0, 4 + count * 46, 1))
        file.write(
            struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
        )
    refused(path, "more than")


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=400))
def test_random_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(data)
    with pytest.raises(BadWheel):
        inspect_wheel(path)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    edits=st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=6)), min_size=1, max_size=6),
    cut=st.none() | st.integers(0, 2**16),
)
def test_mutated_wheels(tmp_path: Path, edits: list[tuple[int, bytes]], cut: int | None) -> None:
    path = make(tmp_path)
    data = bytearray(path.read_bytes())
    for at, new in edits:
        data[at % len(data) : at % len(data) + len(new)] = new
    path.write_bytes(data if cut is None else data[: cut % len(data)])
    try:
        result = inspect_wheel(path)
    except BadWheel:
        return
    assert len(result.metadata) <= inspection.MAX_METADATA
