"""Wheels that a hostile build may deliver, and a few unusual ones that must be published.

Each is a change of one valid wheel, with words of the reason for its refusal; without words, it is
published.
"""

import io
import stat
import struct
import warnings
import zipfile
import zlib
from typing import NamedTuple

from wheels import record_of

INFO = "demo_pkg-1.0.dist-info"
NAME = "demo_pkg-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
GOOD = {"demo.py": "x = 1\n", f"{INFO}/METADATA": METADATA, f"{INFO}/WHEEL": WHEEL}
RECORD = record_of(GOOD, INFO)


class Wheel(NamedTuple):
    """A wheel: its content, words of the reason for its refusal, and its name."""

    what: str
    data: bytes
    words: tuple[str, ...] = ()
    filename: str = NAME


class Entry(NamedTuple):
    """A file with attributes of zip; *listed* in RECORD."""

    name: str
    data: bytes | str = b""
    mode: int = stat.S_IFREG | 0o644
    listed: bool = True
    method: int = zipfile.ZIP_DEFLATED


def make(files=None, *entries, record=None, **changes):
    """Return the valid wheel with *files*, *entries*, and *changes* of its dist-info.

    ``None`` in place of content leaves a file out.
    """
    content = {**GOOD, **(files or {}), **{f"{INFO}/{k}": v for k, v in changes.items()}}
    content = {name: data for name, data in content.items() if data is not None}
    if record is None:
        record = record_of(
            content | {each.name: each.data for each in entries if each.listed}, INFO
        )
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # some have a name twice
        for name, data in content.items():
            archive.writestr(name, data)
        for each in entries:
            info = zipfile.ZipInfo(each.name)
            info.external_attr, info.compress_type = each.mode << 16, each.method
            archive.writestr(info, each.data)
        if record is not False:
            archive.writestr(f"{INFO}/RECORD", record)
    return buffer.getvalue()


def changed(data, signature, at, form, value):
    """Return *data* with a field of its first record with *signature* changed."""
    place = data.index(signature) + at
    return data[:place] + struct.pack(form, value) + data[place + struct.calcsize(form) :]


def directory(data, at, form, value):
    """Return *data* with a field of its first record in the directory changed."""
    return changed(data, b"PK\x01\x02", at, form, value)


def header(data, at, form, value):
    """Return *data* with a field of the header of its first file changed."""
    return changed(data, b"PK\x03\x04", at, form, value)


def ending(data, at, form, *values):
    """Return *data* with fields of its record at the end changed."""
    place = len(data) - 22 + at
    return data[:place] + struct.pack(form, *values) + data[place + struct.calcsize(form) :]


def zip64(data, files=4, gap=b""):
    """Return *data* with a zip64 record at its end, which lists so many *files*."""
    size, start = struct.unpack_from("<LL", data, len(data) - 10)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, files, files, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    return data[:-22] + record + gap + locator + data[-22:]


def second_name(name, other):
    """Return a wheel in which a field of Info-ZIP gives a file another name."""
    field = struct.pack("<HHBL", 0x7075, 5 + len(other), 1, zlib.crc32(name.encode()))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for each, content in {**GOOD, f"{INFO}/RECORD": RECORD}.items():
            info = zipfile.ZipInfo(each)
            info.extra = field + other.encode() if each == name else b""
            archive.writestr(info, content)
    return data.getvalue()


def overlapping():
    """Return a wheel in which two names have one content."""
    data = make({"demo2.py": "x = 1\n"})
    place = data.rindex(b"demo2.py") - 46
    return data[:place] + changed(data[place:], b"PK\x01\x02", 42, "<L", 0)


def with_gap():
    """Return a wheel with bytes between the last file and the directory."""
    data = make()
    start, end = data.index(b"PK\x01\x02"), len(data) - 22
    offset = struct.pack("<L", start + 4)
    return data[:start] + b"evil" + data[start : end + 16] + offset + data[end + 20 :]


class Pipe(io.RawIOBase):
    """A file that cannot seek: the sizes of a zip archive follow its files."""

    def __init__(self):
        self.data = b""

    def writable(self):
        return True

    def write(self, data):
        self.data += bytes(data)
        return len(data)


def streamed():
    """Return a wheel as a writer to a pipe makes it."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**GOOD, f"{INFO}/RECORD": RECORD}.items():
            archive.writestr(name, data)
    return pipe.data


def elf(machine=62, versions=(), needed=("libc.so.6",)):
    """Return a shared library that needs *versions* of the first library of *needed*."""
    strings, offsets = b"\0", {}
    for text in (*needed, *versions):
        offsets[text] = len(strings)
        strings += text.encode() + b"\0"
    at_strings = 64 + 2 * 56
    at_versions = at_strings + len(strings)
    table = b""
    for number, text in enumerate(versions):
        step = 16 if number + 1 < len(versions) else 0
        table += struct.pack("<IHHII", 0, 0, 0, offsets[text], step)
    if versions:
        table = struct.pack("<HHIII", 1, len(versions), offsets[needed[0]], 16, 0) + table
    at_tags = at_versions + len(table)
    tags = [(1, offsets[text]) for text in needed] + [(5, at_strings)]
    tags += [(0x6FFFFFFE, at_versions)] if versions else []
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in [*tags, (0, 0)])
    size = at_tags + len(dynamic)
    start = b"\x7fELF\2\1\1" + bytes(9)
    start += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    start += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 4096)
    start += struct.pack("<IIQQQQQQ", 2, 6, at_tags, at_tags, 0, len(dynamic), len(dynamic), 8)
    return start + strings + table + dynamic


def elf_for(wide, machine, flags, attributes=None, sections=1):
    """Return a program without content, but with flags and *sections* of build *attributes*."""
    data = attributes or b""
    word, size = ("Q", 64) if wide else ("I", 52)
    start = b"\x7fELF" + bytes([1 + wide, 1, 1]) + bytes(9)
    places = (0, 0, size + len(data))
    start += struct.pack(f"<HHI3{word}I", 3, machine, 1, *places, flags)
    count = 0 if attributes is None else 1 + sections
    start += struct.pack("<6H", size, 0, 0, 40, count, 0)
    section = struct.pack("<10I", 0, 0x70000003, 0, 0, size, len(data), 0, 0, 1, 0)
    return start + data + bytes(40) + section * sections


def scope(content, number=1, size=None):
    """Return a scope of build attributes: of the whole file (1), sections (2) or symbols (3)."""
    return struct.pack("<BI", number, 5 + len(content) if size is None else size) + content


def attributes(scopes, vendor=b"aeabi", size=None):
    """Return a section of build attributes."""
    length = 5 + len(vendor) + len(scopes) if size is None else size
    return b"A" + struct.pack("<I", length) + vendor + b"\0" + scopes


def arm(values, flags=0x5000400, **changes):
    """Return a program for ARM with these values of its attributes, by their tags."""
    content = b"".join(bytes(pair) for pair in values.items())
    return elf_for(False, 40, flags, attributes(scope(content), **changes))


def native(platform, library, *words, what=None, **files):
    """Return a wheel for *platform* that contains the shared library."""
    about = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-{platform}\n"
    content = {**({} if library is None else {"demo.so": library}), **files}
    name = f"demo_pkg-1.0-cp311-cp311-{platform}.whl"
    return Wheel(what or f"for {platform}", make(content, WHEEL=about), words, name)


def nspkg(name):
    """Return the line that setuptools writes for the namespace package *name*."""
    return (
        "import sys, types, os;p = os.path.join(sys._getframe(1).f_locals['sitedir'], "
        f"*{tuple(name.split('.'))!r});importlib = __import__('importlib.util');"
        "__import__('importlib.machinery');"
        f"m = sys.modules.setdefault('{name}', importlib.util.module_from_spec("
        f"importlib.machinery.PathFinder.find_spec('{name}', [os.path.dirname(p)])));"
        f"m = m or sys.modules.setdefault('{name}', types.ModuleType('{name}'));"
        "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n"
    )


NAMES = {
    "../evil.py": "outside", "/etc/evil.py": "outside", "a/../../evil.py": "outside",
    "a\\..\\evil.py": "outside", "c:/evil.py": "outside", "a/b/../c.py": "outside",
    "a//b.py": "odd path", "./a.py": "odd path", "a/./b.py": "odd path", ".": "odd path",
    "a\x01.py": "cannot be shown", "a\x1b[2J.py": "cannot be shown", "a\n.py": "cannot be shown",
    "a\x7f.py": "cannot be shown", "a\u202egpj.py": "cannot be shown",
    "a\u200b.py": "cannot be shown", "\ufeffa.py": "cannot be shown",
    "a\u2066.py": "cannot be shown", "a\x85.py": "cannot be shown", "a\u2028.py": "cannot be shown",
    " a.py": "blank", "a.py ": "blank", "a/ b.py": "blank", "a /b.py": "blank",
    "x" * 256: "too long", "/".join(["x" * 100] * 11): "too long", "é" * 128: "too long",
}  # fmt: skip

RECORDS = {
    "": "does not list", "x" * 100: "fields", "a,b\n": "fields",
    RECORD.replace("256=", "256=A", 1): "another hash",
    RECORD.replace("sha256=", "md5="): "no SHA-256",
    RECORD.replace("sha256=", "sha1="): "no SHA-256",
    RECORD.replace("sha256=", "shake_128="): "no SHA-256",
    RECORD.replace("sha256=", ""): "no SHA-256",
    RECORD.replace(",6\n", ",7\n"): "another size", RECORD.replace(",6\n", ",-6\n"): "another size",
    RECORD.replace(",6\n", ",06\n"): "another size",
    RECORD.replace(",6\n", ",6 \n"): "another size",
    RECORD + "missing.py,,\n": "does not have", RECORD + "../x,,\n": "does not have",
    RECORD + "demo.py,,\n": "twice", RECORD.replace("demo.py", "Demo.py"): "does not list",
    RECORD.replace("demo.py", "./demo.py"): "does not list",
    RECORD.replace("\n", ",x\n"): "fields", RECORD.replace("demo.py", '"demo.py'): "",
    RECORD + "a\0,,\n": "", "\n".join(RECORD.splitlines()[:2]): "does not list",
}  # fmt: skip

FIELDS = {
    "Requires-Dist: !!!\n": "pip refuses", "Requires-Dist: six>=\n": "pip refuses",
    "Requires-Dist: six (>=1.*)\n": "pip refuses", "Requires-Dist: six @ \n": "pip refuses",
    "Requires-Dist: a b\n": "pip refuses", "Requires-Dist: six[\n": "pip refuses",
    "Requires-Dist: six; nonsense < '3'\n": "pip refuses", "Requires-Dist: \n": "pip refuses",
    "Requires-Dist: six; extra == 'x\n": "pip refuses",
    "Requires-Dist: six\n" * 4097: "too many", "Requires-Dist: " + "x" * 9000 + "\n": "too long",
    "Name: other\n": "no single field", "Version: 2.0\n": "no single field",
    "\n" + "x" * 6 * 2**20: "longer than",
}  # fmt: skip

TEXTS = {
    METADATA + "Summary: \0\n": "null character",
    METADATA.encode() + b"Summary: \xff\n": "pip refuses METADATA: 'utf-8' codec",
    METADATA.encode() + b"\nThe \xff\n": "pip refuses METADATA: 'utf-8' codec",
    METADATA.replace("Name", "Name "): "no single field", "x\n" + METADATA: "no single field",
    "N\u00e4me: x\n" + METADATA: "no single field", "\ufeff" + METADATA: "no single field",
    METADATA.replace("\n", "\rName: other\n", 1): "no single field",
    METADATA.replace("demo-pkg", "demo-pkg "): "'demo-pkg '",
    METADATA + "Summary: x\rRequires-Dist: !!!\n": "pip refuses",
    METADATA + "Requires-Dist: six\n >=1\n": "pip refuses",
    METADATA + "Requires-Python: >=3\nRequires-Python: <3\n": "more than one",
    METADATA.replace("2.1", "3.0"): "that installers know",
    METADATA.replace("2.1", "x"): "that installers know",
    METADATA.partition("\n")[2]: "that installers know",
    METADATA + "Metadata-Version: 2.2\n": "that installers know",
}  # fmt: skip

METADATAS = {
    "Name: other\nVersion: 1.0\n": "'other'", "Name: demo-pkg\nVersion: 1.0.1\n": "'1.0.1'",
    "Name: demo-pkg\n": "no single field", "Version: 1.0\n": "no single field",
    "": "no single field", "Name: demo-pkg\x1b[31m\nVersion: 1.0\n": "no single field",
    "Name: \nVersion: 1.0\n": "no single field", "Name: demo-pkg\nVersion: \n": "no single field",
    "\nName: demo-pkg\nVersion: 1.0\n": "no single field",
    "Name: " + "x" * 300 + "\nVersion: 1.0\n": "no single field",
    "Name: demo-pkg\nVersion: 1.0 2.0\n": "version",
}  # fmt: skip

ABOUTS = {
    "": "no single field", "Wheel-Version: 2.0\n": "unknown format",
    "Wheel-Version: 9\n": "unknown format", "Wheel-Version: x\n": "unknown format",
    "Wheel-Version: 1.0\nWheel-Version: 1.1\n": "no single field",
    "Wheel-Version: 1.0\nTag: cp311-cp311-linux_x86_64\n": "named for the ABI",
    "Wheel-Version: 1.0\n" + "x" * 70_000: "longer than",
    "Wheel-Version: 1.x\n": "unknown format", "Wheel-Version: 1.\n": "unknown format",
    "Wheel-Version : 1.0\n": "no single field", "x\nWheel-Version: 1.0\n": "no single field",
    "x: y\rWheel-Version: 2.0\n" + WHEEL: "no single field",
    WHEEL.encode() + b"x: \xff\n": "pip refuses WHEEL: 'utf-8' codec",
}  # fmt: skip

MODES = {
    "a link": stat.S_IFLNK | 0o777, "a device": stat.S_IFCHR | 0o666,
    "a disk": stat.S_IFBLK | 0o666,
    "a pipe": stat.S_IFIFO | 0o644, "a socket": stat.S_IFSOCK | 0o644,
    "a file that calls itself a folder": stat.S_IFDIR | 0o755, "an unknown kind": 0o30644,
}  # fmt: skip
PERMISSIONS = {"set-uid": stat.S_ISUID, "set-gid": stat.S_ISGID, "sticky": stat.S_ISVTX}

CODE = "import os; os.system('id')\n"
DATA = "demo_pkg-1.0.data"
PLACES = {
    "demo.pth": "at each start", "DEMO.PTH": "at each start", "a.Pth": "at each start",
    f"{DATA}/purelib/x.pth": "at each start", f"{DATA}/platlib/x.pth": "at each start",
    f"{DATA}/evil/x": "no place", f"{DATA}/x": "no place", f"{DATA}/PURELIB/x": "no place",
    f"{DATA}/stdlib/os.py": "no place", "other-1.0.data/scripts/x": f"is not {DATA!r}",
    "demo_pkg-2.0.data/scripts/x": f"is not {DATA!r}", f"{INFO}/INSTALLER": "only installers",
    f"{INFO}/REQUESTED": "only installers", f"{INFO}/direct_url.json": "only installers",
    "other-1.dist-info/METADATA": "2 dist-info", "pip-99.dist-info/METADATA": "2 dist-info",
    "sitecustomize.py": "at each start", "usercustomize/__init__.py": "at each start",
    "sitecustomize.cpython-311.pyc": "at each start",
    f"{DATA}/platlib/usercustomize.py": "at each start",
    f"{DATA}/purelib/pip-99.dist-info/METADATA": "a dist-info folder",
    f"{DATA}/purelib/{INFO}/METADATA": "same place", f"{DATA}/platlib/demo.py": "same place",
    f"{DATA}/purelib/{INFO}/INSTALLER": "a dist-info folder",
    "pip-99.DIST-INFO/METADATA": "a dist-info folder", "x.dist-info": "a dist-info folder",
    "pip.egg-info/PKG-INFO": "installed project", "pip-9-py3.egg-info": "installed project",
    "demo.egg-link": "installed project",
    f"{DATA}/data/lib/python3.11/site-packages/x.pth": "interpreter's own folders",
    f"{DATA}/data/lib64/python3/os.py": "interpreter's own folders",
    f"{DATA}/data/Lib/site-packages/x.py": "interpreter's own folders",
    f"{DATA}/data/pyvenv.cfg": "interpreter's own folders",
    f"{DATA}/data/bin/python3": "the environment", f"{DATA}/scripts/python": "the environment",
    f"{DATA}/scripts/pip3.11": "the environment", f"{DATA}/scripts/activate": "the environment",
}  # fmt: skip

PROGRAMS = {
    "../../evil = demo:x": "pip refuses", "/tmp/evil = demo:x": "pip refuses",
    "..\\evil = demo:x": "pip refuses", ".. = demo:x": "pip refuses",
    "x y = demo:x": "pip refuses", "x\x1b = demo:x": "pip refuses", "x = demo": "pip refuses",
    "x = ": "pip refuses", "x = a b:c": "pip refuses", "x = demo:x; import os": "pip refuses",
    "x = demo:x\n import os": "pip refuses", "x" * 300 + " = demo:x": "pip refuses",
    "python3 = demo:x": "the environment", "PIP = demo:x": "the environment",
    "x = demo:": "pip refuses", "x = demo : x": "pip refuses", "x = demo..x:y": "pip refuses",
    "x = demo:x []": "pip refuses", "x = demo:x [a,b-c]": "pip refuses",
    "; x = demo": "pip refuses", "x = y:z\n[[console_scripts]]\nx = y": "pip refuses",
    "\u00e9" * 150 + " = demo:x": "pip refuses", "x : demo:x": "cannot be read",
    "no value": "cannot be read", "x = demo:x\n[broken": "cannot be read",
    "\n".join(f"x{n} = demo:x" for n in range(1001)): "more than 1000 programs",
    "\n".join(f"x{n} = demo:x" for n in range(90_000)): "longer than",
}  # fmt: skip

LINES = (
    "import evil\n", "/tmp\n", "import sys; sys.path.insert(0, '/tmp')\n",
    nspkg("demo") + "import evil\n", nspkg("demo").replace("importlib.util'", "evil'"),
    nspkg("demo").replace("types, os;", "types, os;import evil;"),
    nspkg("demo").replace("sitedir'],", "sitedir']+evil(),"),
)  # fmt: skip


def corpus():
    """Yield every wheel."""
    for name, word in NAMES.items():
        yield Wheel(f"the path {name!r}", make(None, Entry(name, "x")), (word,))
    for record, word in RECORDS.items():
        yield Wheel(f"the RECORD {record!r}", make(record=record), (word,))
    for text, word in FIELDS.items():
        yield Wheel(f"the field {text[:50]!r}", make(METADATA=METADATA + text), (word,))
    for text, word in TEXTS.items():
        yield Wheel(f"the METADATA {text!r}", make(METADATA=text), (word,))
    for lines, word in PROGRAMS.items():
        points = make(**{"entry_points.txt": f"[gui_scripts]\n{lines}\n"})
        yield Wheel(f"{len(lines)} characters of programs: {lines[:50]!r}", points, (word,))
    garbage = make(**{"entry_points.txt": b"[console_scripts]\nx = demo:\xff\n"})
    yield Wheel("a program that is no text", garbage, ("cannot be read",))
    for text, word in METADATAS.items():
        yield Wheel(f"the METADATA {text[:50]!r}", make(METADATA=text), (word,))
    for text, word in ABOUTS.items():
        yield Wheel(f"the WHEEL {text[:30]!r} {text[-30:]!r}", make(WHEEL=text), (word,))
    for what, mode in MODES.items():
        yield Wheel(what, make(None, Entry("x", "demo.py", mode)), ("neither a file nor",))
    for what, mode in PERMISSIONS.items():
        program = Entry("x", "", stat.S_IFREG | 0o755 | mode)
        yield Wheel(f"a {what} program", make(None, program), ("special permission",))
    for place, word in PLACES.items():
        yield Wheel(f"the place {place!r}", make({place: CODE}), (word,))
    for line in LINES:
        yield Wheel(f"the pth {line!r}", make({"demo-nspkg.pth": line}), ("at each start",))
    yield from archives()
    yield from platforms()
    yield from machines()
    yield from unusual()


def archives():
    """Yield wheels that are odd as zip archives."""
    good = make()
    differs, another = ("the archive lists",), ("another header",)
    yield Wheel("no RECORD", make(record=False), ("no RECORD",))
    yield Wheel("no METADATA", make(METADATA=None), ("no METADATA",))
    yield Wheel("no WHEEL", make(WHEEL=None), ("no WHEEL",))
    yield Wheel("no archive", b"PK\3\4" + b"x" * 100, ("not a valid zip",))
    yield Wheel("nothing", b"", ("not a valid zip",))
    yield Wheel("a program before it", b"#!/bin/sh\n" + good, ("does not begin",))
    yield Wheel("data after its end", good + b"x", ("after its end",))
    yield Wheel("two archives", good + make({"demo.py": "evil"}), ("differs from",))
    yield Wheel("cut off", good[:-30], ("not a valid zip",))
    yield Wheel("a wrong CRC", header(directory(good, 16, "<L", 1), 14, "<L", 1), ("Bad CRC",))
    yield Wheel("a wrong CRC in the directory", directory(good, 16, "<L", 1), differs)
    yield Wheel("a wrong CRC in the header", header(good, 14, "<L", 1), differs)
    yield Wheel("a smaller size in the directory", directory(good, 24, "<L", 1), differs)
    yield Wheel("a larger size in the directory", directory(good, 24, "<L", 9), differs)
    smaller, larger = (header(directory(good, 24, "<L", n), 22, "<L", n) for n in (1, 9))
    yield Wheel("a smaller size in both", smaller, ("",))
    yield Wheel("a larger size in both", larger, ("",))
    huge = header(directory(good, 24, "<L", 2**32 - 2), 22, "<L", 2**32 - 2)
    yield Wheel("a size of 4 GiB", huge, ("unpacks to",))
    yield Wheel("another name in the header", header(good, 30, "7s", b"evil.py"), another)
    yield Wheel("another method in the header", header(good, 8, "<H", 0), another)
    yield Wheel("another method in both", header(directory(good, 10, "<H", 0), 8, "<H", 0), ("",))
    yield Wheel("encrypted", directory(good, 8, "<H", 1), ("encrypted",))
    yield Wheel("sizes that follow, by the header", header(good, 6, "<H", 8), another)
    yield Wheel("a UTF-8 name, by the header", header(good, 6, "<H", 0x800), another)
    yield Wheel("no header where it is listed", directory(good, 42, "<L", 3), ("not where",))
    yield Wheel("a header behind the end", directory(good, 42, "<L", 2**31), ("not where",))
    yield Wheel("two names of one content", overlapping(), another)
    yield Wheel("bytes that no file has", with_gap(), ("unlisted content",))
    yield Wheel("a comment", good[:-2] + b"\5\0hello", ("a comment",))
    yield Wheel("an archive in the comment", good[:-2] + b"\x16\0" + good[-22:], ("not a valid",))
    yield Wheel("a directory with fewer files", ending(good, 8, "<HH", 3, 3), ("differs from",))
    yield Wheel("a directory on another disk", ending(good, 4, "<H", 1), ("differs from",))
    yield Wheel("a directory elsewhere", ending(good, 16, "<L", 9), ("",))
    yield Wheel("two ends that differ", zip64(good, files=3), ("",))
    yield Wheel("two ends apart", zip64(good, gap=b"evil"), ("",))
    yield Wheel("a second name", second_name("demo.py", "evil.py"), ("second name",))
    for at, what in ((4, "CRC"), (8, "packed size"), (12, "size")):
        data = streamed()
        data = changed(data, b"PK\x07\x08", at, "<L", 7)
        yield Wheel(f"another {what} that follows", data, ("unlisted content",))
    yield Wheel("another CRC in a header", header(streamed(), 14, "<L", 7), ("another size",))
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        packed = make(None, Entry("x", "x" * 99, method=method))
        yield Wheel(f"the method {method}", packed, ("compression method",))
    yield Wheel("a file twice", make(None, Entry("demo.py", "evil")), ("twice",))
    yield Wheel("METADATA twice", make(None, Entry(f"{INFO}/METADATA", "x")), ("twice",))
    spellings = make(None, Entry("\u00e9.py", "a"), Entry("e\u0301.py", "b"))
    yield Wheel("a file in two spellings", spellings, ("two files",))
    yield Wheel("a file that is a folder, too", make(None, Entry("demo.py/x")), ("a file and a",))
    folder = Entry("folder/", "content", stat.S_IFDIR | 0o755, listed=False)
    yield Wheel("a folder with content", make(None, folder), ("has content",))
    yield Wheel("an unlisted file", make(None, Entry("evil.py", listed=False)), ("not list",))
    yield Wheel("a bomb", make({"bomb": b"\0" * 2**27}), ("unpacks to",))
    many = make(None, *(Entry(f"x{n}", listed=False, method=0) for n in range(100_001)))
    yield Wheel("100,005 files", many, ("more than 100000",))


def platforms():
    """Yield wheels whose programs do not fit their tags, and some that do."""
    old, new = elf(versions=("GLIBC_2.2.5",)), elf(versions=("GLIBC_2.4", "GLIBC_2.34"))
    musl = elf(needed=("libc.musl-x86_64.so.1",))
    foreign = elf(needed=("libc.so.6", "libfoo.so.1"))
    two = "manylinux_2_17_x86_64.manylinux_2_5_x86_64"
    yield native("manylinux_2_999_x86_64", None, "no native programs")
    yield native("manylinux_2_17_x86_64", new, "needs glibc 2.34")
    yield native("manylinux2014_x86_64", new, "needs glibc 2.34")
    yield native("manylinux1_x86_64", elf(versions=("GLIBC_2.6",)), "needs glibc 2.6")
    yield native("manylinux_2_17_aarch64", old, "another machine")
    yield native("manylinux_2_17_vax", old, "no such machine")
    yield native("manylinux_x_y_x86_64", old, "no such platform")
    yield native("manylinux3000_x86_64", old, "no such platform")
    yield native("musllinux_1_2_x86_64", old, "needs glibc")
    yield native("musllinux_1_1_x86_64", elf(), "libc.so.6")
    yield native("manylinux_2_28_x86_64", musl, "libc.musl")
    yield native("manylinux_2_18_x86_64", foreign, "libfoo.so.1")
    yield native(two, elf(versions=("GLIBC_2.17",)), "manylinux_2_5_x86_64")
    yield native("manylinux_2_19_x86_64", elf()[:70], "cannot be read")
    hidden = {"demo.so": old, "demo/model.bin": new}
    yield native("manylinux_2_29_x86_64", None, "needs glibc 2.34", **hidden)
    many = {f"x{number}.so": old for number in range(2001)}
    yield native("manylinux_2_6_x86_64", None, "cannot be read", **many, y=new)
    yield Wheel("a program for any machine", make({"demo/run": elf()}), ("native programs",))
    yield Wheel("a library for any machine", make({"demo/x.so": ""}), ("native programs",))
    yield native("manylinux_2_5_x86_64", old)
    yield native("manylinux_2_34_x86_64", new)
    yield native("manylinux2010_x86_64", old)
    yield native("musllinux_1_3_x86_64", musl)
    yield native("linux_x86_64", new)
    yield native("manylinux_2_20_x86_64", foreign, **{"demo.libs/libfoo.so.1": elf()})


#: The attributes of a program for ARM1176, as gcc writes them.
ARMV6 = {6: 7, 8: 1, 9: 1, 10: 2, 18: 4, 20: 1, 21: 1, 23: 3, 24: 1, 25: 1, 26: 2, 28: 1, 34: 1}
#: Attributes of newer ARM: v7, v6T2 and v6-M, of another profile, Thumb-2, VFPv3, NEON, division.
NEWER = ({6: 10}, {6: 8}, {6: 11}, {6: 14}, {6: 0}, {7: 77}, {9: 2}, {10: 3}, {11: 1}, {12: 1},
         {36: 1}, {44: 2})  # fmt: skip
_NUMBERS = bytes(number for pair in ARMV6.items() for number in pair)
#: Sections of attributes that prove nothing.
UNPROVEN = {
    "empty": b"",
    "another format": b"B" + attributes(scope(_NUMBERS))[1:],
    "cut off": attributes(scope(_NUMBERS))[:-1],
    "longer than its section": attributes(scope(_NUMBERS), size=1000),
    "a part without an end": attributes(scope(_NUMBERS), size=0),
    "a part that ends in its size": attributes(scope(_NUMBERS), size=3),
    "a scope without an end": attributes(scope(_NUMBERS, size=0)),
    "a scope beyond its part": attributes(scope(_NUMBERS, size=200)),
    "a huge scope": attributes(scope(_NUMBERS, size=2**32 - 1)),
    "an unknown scope": attributes(scope(_NUMBERS, 4)),
    "an endless number": attributes(scope(b"\6" + b"\x87" * 100)),
    "a text without an end": attributes(scope(_NUMBERS + b"\5ARM")),
    "another vendor": attributes(scope(_NUMBERS), b"gnu"),
    "no architecture": attributes(scope(bytes([8, 1, 9, 1]))),
    "a section that is newer": attributes(scope(_NUMBERS) + scope(b"\1\0\6\x0a", 2)),
    "a list of symbols without an end": attributes(scope(_NUMBERS) + scope(b"\1" * 50, 3)),
    "too long": attributes(scope(_NUMBERS)) + attributes(scope(b"\6\7" * 40_000))[1:],
}


def machines():
    """Yield wheels whose programs are for other machines than their tags, and some that fit."""
    armv7 = arm({**ARMV6, 6: 10, 9: 2, 10: 4})
    riscv = {flags: elf_for(True, 243, flags) for flags in (0, 1, 3, 5, 9, 13)}
    yield native("linux_armv7l", elf(), "another machine", what="of x86_64 for ARM")
    yield native("linux_aarch64", armv7, "another machine")
    yield native("linux_x86_64", elf_for(False, 62, 0), "another machine", what="for x32")
    yield native("linux_armv6l.linux_x86_64", arm(ARMV6), "another machine")
    hidden = {"demo/model.bin": elf()}
    yield native("linux_aarch64", None, "another machine", what="a hidden program", **hidden)
    yield native("linux_i686", elf()[:60], "cannot be read")
    for platform in ("linux_armv6l", "linux_armv7l", "manylinux_2_31_armv7l"):
        for flags in (0x5000200, 0x5000000):
            program, what = arm({**ARMV6, 28: 0}, flags), f"{platform} with {flags:x}"
            yield native(platform, program, "float ABI", what=what)
    for flags in (0, 3, 9, 13):
        yield native("linux_riscv64", riscv[flags], "float ABI", what=f"riscv64 with {flags}")
    for values in NEWER:
        yield native("linux_armv6l", arm({**ARMV6, **values}), "for a newer ARM", what=f"{values}")
    yield native("manylinux_2_31_armv6l", armv7, "for a newer ARM")
    yield native("linux_armv7l.linux_armv6l", armv7, "for a newer ARM")
    yield native("linux_armv6l", elf_for(False, 40, 0x5000400), "not proven", what="no section")
    two = elf_for(False, 40, 0x5000400, attributes(scope(_NUMBERS)), sections=2)
    yield native("linux_armv6l", two, "not proven", what="two sections")
    for what, section in UNPROVEN.items():
        program = elf_for(False, 40, 0x5000400, section)
        yield native("linux_armv6l", program, "not proven", what=f"attributes: {what}")
        yield native("linux_armv7l", program, what=f"for ARMv7: {what}")
    yield native("linux_armv6l", arm(ARMV6))
    yield native("linux_armv6l", arm(ARMV6, 0x5000000), what="an object file")
    yield native("linux_armv7l", armv7)
    yield native("linux_armv5tel", arm({6: 4}, 0x5000200))
    yield native("linux_riscv64", riscv[5])
    yield native("linux_mips64", elf_for(True, 8, 0))


def unusual():
    """Yield wheels that are unusual, and must be published."""
    folder = Entry("folder/", "", stat.S_IFDIR | 0o755, listed=False)
    yield Wheel("a plain wheel", make())
    yield Wheel("sizes that follow", streamed())
    yield Wheel("a zip64 record", zip64(make()))
    yield Wheel("its name in UTF-8", second_name("demo.py", "demo.py"))
    points = "[console_scripts]\nrun-it = demo:x.y [extra]\n[other]\nx = demo\n"
    yield Wheel("a program", make(**{"entry_points.txt": points}))
    yield Wheel("old metadata", make(METADATA=METADATA.replace("2.1", "1.0")))
    yield Wheel("an odd Python", make(METADATA=METADATA + "Requires-Python: >=3.6.*\n"))
    yield Wheel("its egg-info", make({"demo_pkg.egg-info/PKG-INFO": METADATA}))
    yield Wheel("shared data", make({f"{DATA}/data/bin/x": "", f"{DATA}/data/lib/libx.a": ""}))
    yield Wheel("stored", make(None, Entry("x", "x" * 99, method=zipfile.ZIP_STORED)))
    yield Wheel("a folder", make(None, folder, Entry("folder/x.py")))
    yield Wheel("no mode", make(None, Entry("x", "", 0)))
    yield Wheel("a script", make({f"{DATA}/scripts/run": "#!python\n"}))
    yield Wheel("data and headers", make({f"{DATA}/data/x": "", f"{DATA}/headers/x.h": ""}))
    yield Wheel("names in other scripts", make({"größe.py": "", "имя.py": "", "名前.py": ""}))
    yield Wheel("names with blanks and quotes", make({'a "b", c.py': "", "it's.py": ""}))
    yield Wheel("a hash without the size", make(record=RECORD.replace(",6\n", ",\n")))
    yield Wheel("a hash with padding", make(record=RECORD.replace(",6\n", "=,6\n")))
    yield Wheel("a signature", make(None, Entry(f"{INFO}/RECORD.jws", "{}", listed=False)))
    yield Wheel("a pth in a folder", make({"demo/x.pth": "import x\n"}))
    yield Wheel("a namespace", make({"demo-nspkg.pth": nspkg("demo")}))
    yield Wheel("a nested namespace", make({"d-nspkg.pth": nspkg("a") + nspkg("a.b")}))
    yield Wheel("an installed copy", make({"demo/_vendor/x.dist-info/INSTALLER": "pip\n"}))
    yield Wheel("an archive", make({"demo/data.zip": make()}))
    yield Wheel("data that compresses well", make({"demo/zeros": b"\0" * 2**25}))
    yield Wheel("an empty file", make({"demo/py.typed": ""}))
    requirement = "Requires-Dist: six >=1 ; extra == 'x'\n"
    yield Wheel("a requirement", make(METADATA=METADATA + requirement))
    address = "Requires-Dist: six @ https://index.example/six-1.0.tar.gz\n"
    yield Wheel("a requirement with an address", make(METADATA=METADATA + address))
