from __future__ import annotations

import struct
import sys
import zipfile
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.dependencies import (
    Elf,
    System,
    library_dependencies,
    needed_libraries,
    read_elf,
)

KIND = (2, 1, 62, 0)
WHEEL = "demo-1.0-cp311-cp311-linux_x86_64.whl"


def elf(*needed: str, soname: str = "", kind: tuple[int, ...] = KIND) -> bytes:
    """Make the smallest file that a dynamic linker would understand."""
    wide, order = kind[0] == 2, "<" if kind[1] == 1 else ">"
    head, segment = (64, 56) if wide else (52, 32)
    strings, tags = b"\0", []
    for tag, name in [(1, n) for n in needed] + ([(14, soname)] if soname else []):
        tags.append((tag, len(strings)))
        strings += name.encode() + b"\0"
    at = head + 2 * segment
    pair = struct.Struct(order + ("qQ" if wide else "iI"))
    dynamic_size = pair.size * (len(tags) + 2)
    tags += [(5, 0x10000 + at + dynamic_size), (0, 0)]
    body = b"".join(pair.pack(*tag) for tag in tags) + strings
    ident = bytes([0x7F, *b"ELF", kind[0], kind[1], 1]).ljust(16, b"\0")
    word = "Q" if wide else "I"
    header = struct.pack(
        f"{order}HHI{word * 3}IHHHHHH",
        *(3, kind[2], 1, 0, head, 0, kind[3], head, segment, 2, 0, 0, 0),
    )
    table = b""
    for type_, offset, length in ((1, 0, at + len(body)), (2, at, dynamic_size)):
        place = (offset, 0x10000 + offset, 0, length, length)
        fields = (type_, 5, *place, 8) if wide else (type_, *place, 5, 4)
        table += struct.pack(order + ("IIQQQQQQ" if wide else "IIIIIIII"), *fields)
    return ident + header + table + body


def wheel(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def debian(root: Path, *, lists: dict[str, list[str]], libraries: dict[str, bytes]) -> System:
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    for package, lines in lists.items():
        (root / f"var/lib/dpkg/info/{package}.list").write_text("\n".join(["/.", *lines]))
    for name, data in libraries.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return System(root)


@pytest.mark.parametrize("kind", [KIND, (1, 1, 40, 0x400), (2, 2, 21, 0), (1, 2, 20, 0)])
def test_elf_of_every_class_and_order(kind: tuple[int, ...]) -> None:
    assert read_elf(elf("libc.so.6", "libm.so.6", soname="libx.so.1", kind=kind)) == Elf(
        kind, "libx.so.1", ("libc.so.6", "libm.so.6")
    )


def test_we_read_what_pyelftools_reads() -> None:
    libraries = [Path(sys.executable).resolve()]
    libraries += sorted(Path("/usr/lib").glob("*-linux-gnu*/lib*.so.?"))[:40]
    for path in libraries:
        with path.open("rb") as file:
            dynamic = [s for s in ELFFile(file).iter_segments() if isinstance(s, DynamicSegment)]
            expected = [
                t.needed for s in dynamic for t in s.iter_tags() if t.entry.d_tag == "DT_NEEDED"
            ]
        found = read_elf(path.read_bytes())
        assert found is not None
        assert list(found.needed) == expected, path


def test_bundled_libraries_are_not_dependencies(tmp_path: Path) -> None:
    path = wheel(
        tmp_path,
        {
            "demo/a.cpython-311-x86_64-linux-gnu.so": elf(
                "libc.so.6", "libz-1234.so.1", "libown.so", "libpython3.11.so.1.0"
            ),
            "demo.libs/libz-1234.so.1": elf("libc.so.6"),
            "demo/lib/libown-real.so": elf(soname="libown.so"),
            "demo/notes.so": b"this is no library",
            "demo.data/scripts/tool": elf("libedit.so.2"),
        },
    )
    assert needed_libraries(path) == [("libc.so.6", KIND), ("libedit.so.2", KIND)]


@pytest.mark.parametrize("merged", [True, False])
def test_debian_packages_with_and_without_merged_usr(tmp_path: Path, merged: bool) -> None:
    lib = "lib/x86_64-linux-gnu"
    if merged:
        (tmp_path / "usr/lib").mkdir(parents=True)
        (tmp_path / "lib").symlink_to("usr/lib")
    system = debian(
        tmp_path,
        lists={
            "libc6:amd64": [f"/{lib}/libc.so.6"],
            "libedit2": [f"/usr/{lib}/libedit.so.2.0.70"],
            "libblas3": [f"/usr/{lib}/blas/libblas.so.3"],
        },
        libraries={
            f"{lib}/libc.so.6": elf(),
            f"usr/{lib}/libedit.so.2.0.70": elf(),
            f"usr/{lib}/blas/libblas.so.3": elf(),
            f"usr/{lib}/liblocal.so.1": elf(),
            "lib/i386-linux-gnu/lib32.so.1": elf(kind=(1, 1, 3, 0)),
        },
    )
    (tmp_path / f"usr/{lib}/libedit.so.2").symlink_to("libedit.so.2.0.70")
    (tmp_path / f"usr/{lib}/libblas.so.3").symlink_to(tmp_path / f"usr/{lib}/blas/libblas.so.3")
    names = ("libc.so.6", "libedit.so.2", "libblas.so.3", "liblocal.so.1", "lib32.so.1", "libno.so")
    path = wheel(tmp_path, {"a.so": elf(*names)})
    assert library_dependencies(path, system) == {
        "apt": ["libblas3", "libc6", "libedit2"],
        "": ["lib32.so.1", "liblocal.so.1", "libno.so"],
    }


def test_configured_folders_and_new_packages(tmp_path: Path) -> None:
    system = debian(tmp_path, lists={"a": []}, libraries={"opt/x/libx.so": elf()})
    (tmp_path / "etc/ld.so.conf.d").mkdir(parents=True)
    (tmp_path / "etc/ld.so.conf").write_text("# ours\ninclude /etc/ld.so.conf.d/*.conf\n")
    (tmp_path / "etc/ld.so.conf.d/x.conf").write_text("/opt/x\ninclude /etc/ld.so.conf.d/*.conf")
    assert system.package_of("libx.so", KIND) is None
    (tmp_path / "var/lib/dpkg/info/x.list").write_text("/opt/x/libx.so\n")
    assert system.package_of("libx.so", KIND) == "x"


def test_without_dpkg(tmp_path: Path) -> None:
    path = wheel(tmp_path, {"a.so": elf("libc.so.6")})
    assert library_dependencies(path, System(tmp_path)) == {"": ["libc.so.6"]}
    assert library_dependencies(wheel(tmp_path, {"a.py": b""}), System(tmp_path)) == {}


def test_this_machine(tmp_path: Path) -> None:
    if not Path("/var/lib/dpkg/info").is_dir():
        pytest.skip("not a Debian")
    found = read_elf(Path(sys.executable).resolve().read_bytes())
    assert found is not None
    assert System().package_of("libc.so.6", found.kind) == "libc6"


def test_hostile_library_names(tmp_path: Path) -> None:
    path = wheel(
        tmp_path, {"a.so": elf("../../etc/passwd", "-rf", "a\nb", "x" * 250, "", "libc.so.6")}
    )
    assert needed_libraries(path) == [("libc.so.6", KIND)]
    with pytest.raises(BadWheel):
        needed_libraries(tmp_path / "none")


@given(st.binary(max_size=300).map(lambda data: b"\x7fELF\x02\x01" + data) | st.binary(max_size=99))
def test_any_bytes(data: bytes) -> None:
    read_elf(data)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(4, 260), st.binary(min_size=1, max_size=8)), min_size=1))
def test_mutated_elf_files_are_read_quickly(edits: list[tuple[int, bytes]]) -> None:
    data = bytearray(elf("libc.so.6", "libz.so.1", soname="liba.so"))
    for at, new in edits:
        data[at : at + len(new)] = new
    found = read_elf(bytes(data))
    assert found is None or len(found.needed) <= 500
