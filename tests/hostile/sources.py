"""Source packages that a hostile author may publish, and what becomes of their builds.

Each is a way to write ``demo`` 1.0 into a folder of sources, with words of the log of its failed
build; without words, it is built. Some are harmless only in a sandbox.
"""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from textwrap import indent
from types import MappingProxyType
from typing import NamedTuple

from helpers import BACKEND, PROJECT, write_sdist

STRONG, NONE = frozenset({"bwrap"}), frozenset({"none"})
ALL = frozenset({"bwrap", "landlock", "none"})
BOTH = frozenset({"bwrap", "none"})
CONFINED = frozenset({"bwrap", "landlock"})
SDIST = "demo-1.0.tar.gz"
ABOUT = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
MEGABYTE = 2**20
#: The limits of builds: times in seconds, sizes in bytes.
LIMITS = {"silence": 15, "timeout": 25, "memory": 400 * MEGABYTE, "disk": 300 * MEGABYTE}
FEW = {"processes": 40}
SMALL = {"disk": 50 * MEGABYTE}
SOON = {"silence": 2}


class Source(NamedTuple):
    """A source package: how to write it to a folder, and what comes of it.

    *words* are in the log of its failed build (none: it is built), and *lost* says whether the
    slave blames itself. It is built in the sandboxes *modes*, within *limits*.
    """

    what: str
    write: Callable[[Path], object]
    words: tuple[str, ...] = ()
    modes: frozenset[str] = STRONG
    limits: Mapping[str, float] = MappingProxyType({})
    lost: bool = False


def project(what, *words, files=None, name="demo", version="1.0", before="", after="", **changes):
    """Return an sdist with *files*, whose backend runs *before* and *after* it makes a wheel.

    *name* and *version* are those of its metadata. *changes* are fields of the result.
    """
    code = {"before": before or "pass", "after": after or "pass"}
    code = {key: indent(text.strip("\n"), "    ").lstrip() for key, text in code.items()}
    backend = BACKEND.format(name=name, version=version, **code)
    write = partial(
        write_sdist, name="demo", version="1.0", files={"backend.py": backend, **(files or {})}
    )
    return Source(what, write, words, **changes)


def build(what, before, *words, **changes):
    """Return an sdist whose backend runs *before*."""
    return project(what, *words, before=before, **changes)


def toml(what, text, *words, **changes):
    """Return an sdist with the text of pyproject.toml."""
    return project(what, *words, files={"pyproject.toml": text}, **changes)


def requires(what, requirement, *words, **changes):
    """Return an sdist whose build requires something."""
    return toml(what, PROJECT.replace("[]", f"[{requirement!r}]"), *words, **changes)


def archive(what, name, data, *words, **changes):
    """Return a file *name* with *data*, or what the function *data* returns."""

    def write(folder):
        (folder / name).write_bytes(data() if callable(data) else data)

    return Source(what, write, words, **changes)


# Archives -----------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A member of an archive."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644


def members(before="pass"):
    """Return the members of a good archive, whose build runs *before*."""
    backend = BACKEND.format(name="demo", version="1.0", before=before, after="pass")
    files = {"pyproject.toml": PROJECT, "PKG-INFO": ABOUT, "backend.py": backend}
    return [Entry(f"demo-1.0/{name}", text.encode()) for name, text in files.items()]


GOOD = members()
#: Its build waits until what was unpacked is measured.
WAITING = members("time.sleep(600)")


def tar(*entries, good=GOOD):
    """Return an archive of *good* and *entries*."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w:gz", format=tarfile.GNU_FORMAT, errors="surrogateescape"
    ) as made:
        for entry in (*good, *entries):
            info = tarfile.TarInfo(entry.name)
            info.size, info.type = len(entry.data), entry.kind
            info.linkname, info.mode = entry.link, entry.mode
            made.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def tarred(what, *entries_and_words, good=GOOD, **changes):
    """Return an sdist with entries in addition to the good ones."""
    entries = [each for each in entries_and_words if isinstance(each, Entry)]
    words = [each for each in entries_and_words if isinstance(each, str)]
    return archive(what, SDIST, partial(tar, *entries, good=good), *words, **changes)


def zipped(
    what,
    name,
    data=b"x",
    *words,
    mode=stat.S_IFREG | 0o644,
    flags=0,
    repeat=1,
    good=GOOD,
    **changes,
):
    """Return an sdist in the format zip, with one entry more: *data*, as often as *repeat*."""

    def make():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
            for entry in good:
                made.writestr(entry.name, entry.data)
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            with made.open(info, "w") as file:
                for _ in range(repeat):
                    file.write(data)
        result = buffer.getvalue()
        place = result.rindex(b"PK\x01\x02") + 8
        return result[:place] + bytes([flags]) + result[place + 1 :]

    return archive(what, "demo-1.0.zip", make, *words, **changes)


def sparse(size):
    """Return a header of a sparse file of *size* bytes without data (format of GNU tar)."""
    info = tarfile.TarInfo("demo-1.0/sparse")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + size.to_bytes(11)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    return bytes(header)


def with_sparse(size):
    """Return an archive with a sparse file."""
    whole = gzip.decompress(tar()).rstrip(b"\0")
    whole += b"\0" * (-len(whole) % 512)
    return gzip.compress(whole + sparse(size) + b"\0" * 1024)


def long_header():
    """Return an archive with a header of 200 MB."""
    info = tarfile.TarInfo("demo-1.0/x")
    info.type, info.size = tarfile.XHDTYPE, 200 * MEGABYTE
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"1" * info.size, 1)


OUTSIDE = "outside the destination"

ARCHIVES = (
    tarred("an absolute path", Entry("/tmp/piw-evil"), "does not appear"),
    tarred("a path out of the tree", Entry("demo-1.0/../../../evil"), OUTSIDE),
    tarred("a link out of the tree", Entry("demo-1.0/a", b"", tarfile.SYMTYPE, "/etc"), "absolute"),
    tarred("a file through a link", Entry("demo-1.0/a", b"", tarfile.SYMTYPE, ".."),
        Entry("demo-1.0/a/evil"), OUTSIDE),
    tarred("a file through two links", Entry("demo-1.0/a/b/x"),
        Entry("demo-1.0/c", b"", tarfile.SYMTYPE, "a/b"),
        Entry("demo-1.0/d", b"", tarfile.SYMTYPE, "c/../../.."), Entry("demo-1.0/d/evil"), OUTSIDE),
    tarred("a hard link out of the tree", Entry("demo-1.0/a", b"", tarfile.LNKTYPE, "/etc/passwd"),
        "ERROR"),
    tarred("a hard link to nothing", Entry("demo-1.0/a", b"", tarfile.LNKTYPE, "demo-1.0/b"),
        "ERROR"),
    tarred("a character device", Entry("demo-1.0/a", b"", tarfile.CHRTYPE), "special"),
    tarred("a fifo in place of a file", Entry("demo-1.0/backend.py", b"", tarfile.FIFOTYPE),
        "special"),
    tarred("a setuid program", Entry("demo-1.0/a", b"#!/bin/sh\n", mode=0o6777)),
    tarred("a member twice", Entry("demo-1.0/pyproject.toml", b"["), "pip ended"),
    tarred("names that differ by case", *(Entry(f"demo-1.0/{name}") for name in ("a", "A"))),
    tarred("30,000 files", *(Entry(f"demo-1.0/a/{number}") for number in range(30_000)),
        "--disk", good=WAITING, limits=SMALL),
    tarred("a name that is too long", Entry("demo-1.0/" + "x" * 300), "File name too long"),
    tarred("a path that is too long", Entry("demo-1.0/" + "x/" * 3000), "pip ended"),
    tarred("names of invalid UTF-8", Entry("demo-1.0/\udcff\udcfe")),
    tarred("names of control characters", Entry("demo-1.0/\x1b[2J\n\r\x07\u202e")),
    archive("a sparse file of 1 TB", SDIST, partial(with_sparse, 2**40), "File too large"),
    archive("a header of 200 MB", SDIST, long_header, "--memory",
        limits={"memory": 100 * MEGABYTE}),
    archive("half an archive", SDIST, lambda: tar()[:200], "pip ended"),
    archive("two directories at the top", SDIST, partial(tar, Entry("other/setup.py")), "ERROR"),
    archive("garbage after its end", SDIST, lambda: tar() + b"garbage"),
    archive("an unknown compression", "demo-1.0.tar.zst", b"\x28\xb5\x2f\xfd", "pip ended"),
    tarred("a bomb of gzip", Entry("demo-1.0/a", bytes(150 * MEGABYTE)), "--disk", good=WAITING,
        limits=SMALL),
    zipped("a bomb of zip", "demo-1.0/x", bytes(MEGABYTE), "--disk", repeat=150,
        good=WAITING, limits=SMALL),
    zipped("a path out of a zip", "demo-1.0/../../evil", b"x", "outside target"),
    zipped("a link in a zip", "demo-1.0/a", b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
    zipped("an encrypted zip", "demo-1.0/a", b"x", "encrypted", flags=1),
)  # fmt: skip

# Metadata -----------------------------------------------------------------------------------------

OTHER = "Metadata-Version: 2.1\nName: other\nVersion: 2.0\n"


def circle(folder):
    """Write two packages whose builds require each other."""
    for name, needed in (("demo", "other"), ("other", "demo")):
        write_sdist(folder, name, "1.0", {"pyproject.toml": PROJECT.replace("[]", f"['{needed}']")})


METADATA = (
    project("another project in PKG-INFO", files={"PKG-INFO": OTHER}),
    archive("no PKG-INFO", SDIST, partial(tar, good=[GOOD[0], GOOD[2]])),
    project("another name", "inconsistent", name="other"),
    project("another version", "inconsistent", version="2.0"),
    build("another version later", "metadata = metadata.replace('1.0', '2.0')", "ERROR"),
    build("10 MB of metadata", "metadata += '\\n' + 'x\\n' * 5 * 2**20", "--memory"),
    toml("an invalid pyproject.toml", "[build-system", "pip ended"),
    toml("a backend that does not exist", PROJECT.replace('"backend"', '"nothing"'), "pip ended"),
    toml("a backend out of the tree", PROJECT.replace('["."]', '["../.."]'), "pip ended"),
    project("setup.py without its requirements", "No matching distribution",
        files={"pyproject.toml": "", "setup.py": "raise SystemExit('owned')"}),
    requires("itself as a requirement", "demo", "pip ended"),
    requires("a requirement at an address", "x @ http://127.0.0.1:9/x-1.0.tar.gz", "pip ended"),
    requires("a requirement in a file", "x @ file:///etc/passwd", "pip ended"),
    requires("a requirement in a repository", "x @ git+ssh://git@127.0.0.1/x", "pip ended"),
    requires("an option as a requirement", "--index-url=http://127.0.0.1:9/", "pip ended"),
    requires("a folder as a requirement", "-e .", "pip ended"),
    Source("two packages that require each other", circle, ("pip ended",)),
)  # fmt: skip

# Wheels -------------------------------------------------------------------------------------------

#: The folder from which the slave takes wheels, as a build sees it.
OUT = "out = os.path.join(os.path.dirname(os.environ['HOME']), 'out')"


def next_to(what, code, *words, **changes):
    """Return an sdist whose build also does something in the folder of the slave's wheels."""
    return build(what, f"import shutil\n{OUT}\n{code}", *words, **changes)


WHEELS = (
    build("no wheel", "return filename", "pip ended"),
    project("another name of a file", "pip ended",
        after="filename = 'other-1.0-py3-none-any.whl'\n"
        "os.rename(path, os.path.join(folder, filename))"),
    build("a link to a file of the machine", "os.symlink('/etc/hosts', path); return filename",
        "pip ended"),
    build("a link to a device", "os.symlink('/dev/zero', path); return filename", "--silence",
        limits=SOON),
    build("a directory as a wheel", "os.mkdir(path); return filename", "pip ended"),
    build("a fifo as a wheel", "os.mkfifo(path); return filename", "--silence",
        limits=SOON),
    next_to("a wheel of another project", "open(out + '/other-1.0-py3-none-any.whl', 'w').close()",
        "broken wheel"),
    next_to("1,000 wheels", "for number in range(1000):\n"
        "    open(f'{out}/demo-1.0-{number}-py3-none-any.whl', 'w').close()", "1001 wheels"),
    next_to("a fifo next to its wheel", "os.mkfifo(out + '/demo-1.0-1-py3-none-any.whl')",
        "broken wheel"),
    next_to("a link next to its wheel",
        "os.symlink('/dev/zero', out + '/demo-1.0-1-py3-none-any.whl')", "broken wheel"),
    next_to("control characters in a name", "open(out + '/\\x1b[2J\\n.whl', 'w').close()",
        "broken wheel"),
    next_to("no folder for its wheel", "shutil.rmtree(out); os.symlink('/etc', out)", "pip ended"),
    next_to("a change after its end", "if os.fork() == 0:\n"
        "    os.closerange(0, 1000)\n"
        "    while not os.path.exists(os.path.join(out, filename)): time.sleep(0.001)\n"
        "    while True: open(os.path.join(out, filename), 'ab').write(b'more')", "broken wheel"),
)  # fmt: skip

# Processes, memory, disk and output ---------------------------------------------------------------

DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 1000)
        os.execve("/bin/sleep", [{name!r}, "600"], {{}})
    os._exit(0)
"""
TALK = "while True: print('talk', flush=True); time.sleep(0.1)"
SIGNAL = "import signal\n"
LIBC = "import ctypes\nlibc = ctypes.CDLL(None)\n"
#: Only where the build has its own process ids.
KILL_ALL = "assert 'bwrap' in open('/proc/1/cmdline').read()\nos.kill(-1, {})\ntime.sleep(600)"
SUPERVISOR = """
pid = os.getpid()
while b"supervision.py" not in open(f"/proc/{pid}/cmdline", "rb").read():
    pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
os.kill(pid, 9)
time.sleep(600)
"""

PROCESSES = (
    build("forks for ever", "while True:\n    try: os.fork()\n    except OSError: pass",
        "--processes", modes=BOTH, limits=FEW),
    build("forks and ends for ever", "while True:\n    if os.fork(): os._exit(0)", "--silence",
        modes=BOTH, limits=SOON),
    build("leaves a daemon without environment", DAEMON.format(name="sleep"), modes=ALL),
    build("leaves a daemon with the name of a slave", DAEMON.format(name="piw-slave")),
    build("leaves a process that ignores signals", f"{SIGNAL}"
        "if os.fork() == 0:\n"
        "    os.closerange(0, 1000)\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\n"
        "    while True: time.sleep(1)"),
    build("leaves a stopped process", f"{SIGNAL}"
        "if os.fork() == 0:\n"
        "    os.closerange(0, 1000)\n"
        "    os.kill(os.getpid(), 19)", modes=BOTH),
    build("leaves a process that holds its output", "if os.fork() == 0: time.sleep(600)",
        "--silence", modes=BOTH, limits=SOON),
    build("kills its parent", "os.kill(os.getppid(), 9)", "the build was killed", modes=ALL),
    build("stops its parent", f"os.kill(os.getppid(), 19)\n{TALK}", "--silence", modes=BOTH,
        limits=SOON),
    build("kills all", KILL_ALL.format(9), "the build was killed"),
    build("stops all", KILL_ALL.format(19), "--silence", limits=SOON),
    build("kills the first process", "os.kill(1, 9)\nos.kill(1, 15)"),
    build("kills its supervisor", SUPERVISOR, "its supervisor was killed", modes=NONE, lost=True),
    build("kills its supervisor, and leaves a daemon",
        DAEMON.format(name="x") + SUPERVISOR, "its supervisor was killed",
        modes=NONE, lost=True),
    build("cannot kill its supervisor", SUPERVISOR, "pip ended", modes=CONFINED),
    build("traces its parent", f"{LIBC}libc.ptrace(16, os.getppid(), 0, 0)\ntime.sleep(600)",
        "--silence", limits=SOON),
    build("has a low priority", "os.nice(19)\nos.sched_setscheduler(0, 5, os.sched_param(0))"),
    build("changes how the kernel kills it", "for text in ('-1000', '1000'):\n"
        "    try: open('/proc/self/oom_score_adj', 'w').write(text)\n"
        "    except OSError: pass"),
    build("raises its limits", "import resource\n"
        "for kind in range(16):\n"
        "    soft, hard = resource.getrlimit(kind)\n"
        "    try: resource.setrlimit(kind, (-1, -1))\n"
        "    except (OSError, ValueError): continue\n"
        "    assert hard == -1, kind"),
    build("sets its limits to zero", "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, "
        "(0, 0))", "pip ended"),
    build("closes all descriptors", "os.closerange(0, 4096)"),
    build("writes to all descriptors", "for number in range(64):\n"
        "    try: os.write(number, b'exit 0\\n')\n"
        "    except OSError: pass"),
    build("raises at its end", "import atexit\natexit.register(lambda: 1 / 0)"),
    build("sets its mask to 0", "os.umask(0)"),
    *(
        build(f"ends with status {status}", f"os._exit({status})", "pip ended")
        for status in (0, 137)
    ),
    build("ends by a signal", "os.kill(os.getpid(), 11)", "pip ended"),
)  # fmt: skip

USE = (
    build("takes memory", "x = []\nwhile True: x.append(bytearray(b'x' * 2**20))", "--memory",
        modes=BOTH),
    build("takes memory in many processes", "for _ in range(9): os.fork()\n"
        "x = bytearray(b'x' * 2**20)\ntime.sleep(600)", "--memory"),
    build("takes shared memory", "import mmap\nx = mmap.mmap(-1, 600 * 2**20)\n"
        "for at in range(0, len(x), 4096): x[at] = 1\ntime.sleep(600)", "--memory"),
    build("takes memory in a file without a name",
        "file = os.fdopen(os.memfd_create('x'), 'wb')\n"
        "while True: file.write(b'x' * 2**20); file.flush()", "--memory"),
    build("maps a file of 1 TB", "import mmap\nfile = open('x', 'wb+')\nfile.truncate(2**40)",
        "File too large"),
    build("fills the file systems in memory", "for place in ('/dev/shm', '/run'):\n"
        "    try:\n"
        "        with open(place + '/x', 'wb') as file:\n"
        "            for _ in range(300): file.write(bytes(2**20))\n"
        "    except OSError: pass"),
    build("busy", "while True: pass", "--cpu-time", limits={"cpu": 1}),
    build("sleeps", "time.sleep(600)", "--silence", modes=BOTH, limits=SOON),
    build("talks for ever", TALK, "time-out", limits={"timeout": 4}),
    build("fills the disk", "file = open('x', 'wb')\nwhile True: file.write(b'x' * 2**20)",
        "--disk", modes=BOTH, limits=SMALL),
    build("fills the disk by a removed file", "file = open('x', 'wb')\nos.unlink('x')\n"
        "while True: file.write(b'x' * 2**20); file.flush()", "--disk", limits=SMALL),
    build("makes files without content", "for number in range(10**6): open(f'{number}', 'w')",
        "--disk", limits=SMALL),
    build("makes directories in directories", "for _ in range(10**6):\n"
        "    os.mkdir('x' * 200)\n    os.chdir('x' * 200)", "--disk"),
    build("hides its files below a long path", "for _ in range(30):\n"
        "    os.mkdir('x' * 200)\n    os.chdir('x' * 200)\ntime.sleep(600)", "--disk", modes=BOTH),
    build("closes its directories", "os.makedirs('a/b/c')\nos.chmod('a/b/c', 0)\n"
        "os.chmod('a/b', 0)\nos.chmod('a', 0)", modes=BOTH),
    build("makes its files immutable", "import fcntl\nfile = open('x', 'w')\n"
        "try: fcntl.ioctl(file, 0x40086602, b'\\x10\\0\\0\\0\\0\\0\\0\\0')\n"
        "except OSError: pass"),
    build("has files of all times", "for when in (0, 2**32, -2**31): os.utime('pyproject.toml', "
        "(when, when))"),
)  # fmt: skip

OUTPUT = (
    build("prints 20 MB", "for _ in range(2): os.write(1, (b'x' * 10_000 + b'\\n') * 1000)"),
    build("prints without an end of line", "while True: os.write(1, b'x' * 2**16)", "--memory"),
    build("prints escape sequences", "print('\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202e\\0')"),
    build("closes its output", "os.close(1); os.close(2)\ntime.sleep(600)", "--silence",
        limits=SOON),
    build("prints that it was built", "print('Successfully built demo')\nos._exit(1)",
        "pip ended with status 1"),
    build("prints the slave's words",
        "print('piwheels: the build was lost, because its supervisor was killed')\nos._exit(1)",
        "pip ended with status 1"),
    build("prints a fault of the slave", "print('the ssl module is not available')\nos._exit(1)",
        "pip ended with status 1"),
    build("prints a fault of the slave, and is built", "print('No space left on device')"),
)  # fmt: skip

SOURCES = (*ARCHIVES, *METADATA, *WHEELS, *PROCESSES, *USE, *OUTPUT)
