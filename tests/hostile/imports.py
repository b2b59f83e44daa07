"""Modules that do something odd when they are imported, and what the trial of their wheel says.

Each is the code of ``demo.py``, or the files of a wheel. ``{wheel}`` is the wheel that the slave
will deliver. The expectation has the fields of a trial after ``installs``. Each is
tried in namespaces; where they matter, in the other modes of the sandbox, too.
"""

from typing import NamedTuple

#: The modes of the sandbox.
ALL, CONFINED, NAMESPACES = ("bwrap", "landlock", "none"), ("bwrap", "landlock"), ("bwrap",)
UNSEEN = "something that only the kernel has seen"


class Import(NamedTuple):
    """An import: the code, whether it succeeds, why not, and what it connects to and starts."""

    name: str
    code: str | dict[str, str]
    imports: bool | None = True
    why: str = ""
    connects: str = ""
    starts: str = ""
    modes: tuple[str, ...] = NAMESPACES


LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
ADDRESS = "bytes([2, 0, 0, 9, *HOST, *bytes(8)]), 16)\n"
CHANNEL = """import os
def tell(data):
    for each in range(3, 30):
        try: os.write(each, data)
        except OSError: pass
"""

IMPORTS = (
    # Ordinary ones
    Import("does nothing", "", modes=ALL),
    Import("needs another project", "import numpy_x.linalg", None, "needs numpy_x", modes=ALL),
    Import("needs it, in its own words",
        "try: import numpy_x\nexcept ImportError: raise ImportError('install numpy')",
        None, "needs numpy_x"),
    Import("needs a module of its own", "import demo.missing", False,
        "demo: ModuleNotFoundError: No module named 'demo.missing'; 'demo' is not a package"),
    Import("needs a module of Python", "raise ModuleNotFoundError('no _tkinter', name='_tkinter')",
        False, "demo: ModuleNotFoundError: no _tkinter"),
    Import("needs a library", "raise ImportError('libx.so.1: cannot open', name='x', path='x.so')",
        False, "demo: ImportError: libx.so.1: cannot open"),
    Import("raises", "1 / 0", False, "demo: ZeroDivisionError: division by zero"),
    Import("has a syntax error", "def", False, "demo: SyntaxError: invalid syntax"),
    Import("starts a thread", "import threading; t = threading.Thread(target=int); t.start()"),
    Import("two modules", {"demo.py": "", "other.py": "import demo"}),
    Import("two modules, one bad", {"demo.py": "", "other.py": "1 / 0"}, False,
        "other: ZeroDivisionError: division by zero"),
    Import("a namespace", {"demo/one/__init__.py": "", "demo/two.py": "1 / 0"}),
    Import("no modules", {"demo/data.txt": "", "tests/__init__.py": "1 / 0"}, None),
    # Programs and connections
    Import("runs a program", "import subprocess; subprocess.run(['true'])", starts="true"),
    Import("runs a shell", "import os; os.system('exit 3'); os.system('exit 4')",
        starts="exit 3, exit 4", modes=ALL),
    Import("becomes a program", "import os; os.execv('/bin/true', ['true'])", False,
        "demo: it ended its interpreter with status 0", starts="/bin/true"),
    Import("leaves a process behind",
        "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(999)",
        starts="a copy of itself", modes=ALL),
    Import("forks in native code",
        LIBC + "pid = libc.fork()\nif not pid: libc._exit(0)\nlibc.waitpid(pid, None, 0)",
        starts=UNSEEN, modes=ALL),
    Import("leaves a native process behind", LIBC + "libc.fork() or libc.sleep(999)",
        starts=UNSEEN, modes=ALL),
    Import("connects", "import socket; socket.socket().connect_ex(('127.0.0.1', 9))",
        connects="127.0.0.1:9", modes=ALL),
    Import("looks up a name",
        "import socket\ntry: socket.getaddrinfo('evil.example', 80)\nexcept OSError: pass",
        connects="evil.example:80"),
    Import("connects in native code",
        LIBC + "HOST = 127, 0, 0, 1\nlibc.connect(libc.socket(2, 1, 0), " + ADDRESS,
        connects=UNSEEN),
    Import("sends a datagram in native code",
        LIBC + "HOST = 127, 0, 0, 1\nlibc.sendto(libc.socket(2, 2, 0), b'', 0, 0, " + ADDRESS,
        connects=UNSEEN),
    Import("reaches for the network in native code",
        LIBC + "HOST = 192, 0, 2, 1\nlibc.connect(libc.socket(2, 1, 0), " + ADDRESS,
        connects=UNSEEN),
    # Hostile ends
    Import("never ends", "while True: pass", False, "demo: it did not end in time", modes=ALL),
    Import("never ends, and says nothing", "import os, time; os.closerange(0, 99); time.sleep(999)",
        False, "demo: it did not end in time"),
    Import("exits", "import sys; sys.exit(0)", False, "demo: SystemExit: 0"),
    Import("ends its interpreter", "import os; os._exit(0)", False,
        "demo: it ended its interpreter with status 0"),
    Import("crashes", "import ctypes; ctypes.string_at(0)", False,
        "demo: it was killed by SIGSEGV", modes=ALL),
    Import("kills itself", "import os; os.kill(os.getpid(), 9)", False,
        "demo: it was killed by SIGKILL"),
    Import("kills its parent", "import os, time; os.kill(os.getppid(), 9); time.sleep(999)", False,
        "it ended the process that watched it", modes=ALL),
    Import("kills everything", "import os; os.kill(-1, 9)", False,
        "it ended the process that watched it"),
    Import("has many processes",
        "import os, time\nfor _ in range(60): os.fork() or time.sleep(999)\ntime.sleep(999)", False,
        "it ran more than 40 processes (--processes)", modes=ALL),
    # Lies
    Import("prints a lot", "for _ in range(1000): print('x' * 10**6)"),
    Import("writes to each descriptor", CHANNEL + "tell(b'\\xff[[[' * 99 + b'\\n[]\\n{}\\n7\\n')"),
    Import("writes a report of its own",
        CHANNEL + "tell(b'{\"said\": [], \"ended\": 0, \"connects\": 0, \"starts\": 0}\\n')\n1 / 0",
        False, "demo: ZeroDivisionError: division by zero"),
    Import("speaks of another module",
        CHANNEL + "tell(b'[\"import\", \"other\"]\\n[\"yes\"]\\n')\n1 / 0", False,
        "demo: it ended its interpreter with status 0"),
    Import("reports too much", CHANNEL + "while True: tell(b'x' * 5000)", False,
        "demo: it reported too much"),
    Import("raises a long error", "raise Exception('\\x1b\\n' + '\\ud800' * 10**6)", False,
        "demo: " + "\ufffd" * 160),
    Import("raises an error that raises",
        "class E(Exception):\n    def __str__(self): 1 / 0\nraise E", False,
        "demo: demo.E: <exception str() failed>"),
    Import("hides what it does", "import os\nos.write = lambda *_: 1\nos.system('true')", False,
        "demo: it ended its interpreter with status 0", starts=UNSEEN),
    Import("writes to the report",
        "import os\nfor each in range(99):\n"
        "    try: os.write(os.open(f'/proc/{os.getppid()}/fd/{each}', 1), b'{}')\n"
        "    except OSError: pass"),
    # The folder and the wheel
    Import("removes its folder", "import os, shutil; shutil.rmtree(os.path.dirname(__file__))",
        modes=ALL),
    Import("fills its folder", "import os\nfor n in range(200): open(f'{__file__}{n}', 'w')"),
    Import("changes the wheel",
        "try: open({wheel!r}, 'ab').write(b'x')\nexcept FileNotFoundError: raise Exception('gone')",
        False, "demo: Exception: gone"),
    Import("changes the wheel anywhere",
        "import os\nfor place, _, names in os.walk(os.path.dirname({wheel!r})):\n"
        "    for name in names:\n        open(os.path.join(place, name), 'ab').write(b'x')",
        modes=CONFINED),
)  # fmt: skip
