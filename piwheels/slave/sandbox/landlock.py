"""A sandbox of Landlock rules: a program that restricts itself, then becomes the build.

It runs as a *file*, ``python -I -S landlock.py RULES COMMAND...``, and imports only what loads
quickly. The numbers are those of the system calls and structures in ``linux/landlock.h``. A filter
of system calls forbids the sockets that Landlock does not restrict.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys

TYPE_CHECKING = False  # checkers know this name; the real one would cost the import of typing
if TYPE_CHECKING:
    from typing import TypedDict

    class Rules(TypedDict):
        """The paths below which a build may read and run files, and those where it may write.

        *port* is the only one to which it may connect (``None``: any; 0: none).
        """

        read: list[str]
        write: list[str]
        port: int | None


_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_NO_NEW_PRIVS = 38  # prctl(2)

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
#: The number of access rights by version of Landlock; later versions have the last number.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
#: From this version on, a build can connect only to one port, by TCP.
PORTS = 4
_CONNECT_TCP = 2
#: From this version on, a build can signal no process outside, nor use its abstract sockets.
SCOPES = 6
_ALL_SCOPES = 3


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _NetPortAttr(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


def version() -> int:
    """Return the version of this kernel's Landlock; 0: it has none."""
    answer: int = _libc().syscall(_CREATE, None, 0, _VERSION_FLAG)
    return max(0, answer)


def restrict(rules: Rules) -> None:
    """Restrict this process, for ever, to *rules*. Raises ``OSError``."""
    libc, kernel = _libc(), version()
    handled = (1 << _RIGHTS[max(1, min(kernel, max(_RIGHTS)))]) - 1
    network = _CONNECT_TCP if rules["port"] is not None and kernel >= PORTS else 0
    attr = _RulesetAttr(handled, network, _ALL_SCOPES if kernel >= SCOPES else 0)
    size = 8 * (3 if kernel >= SCOPES else 2 if kernel >= PORTS else 1)
    ruleset = _checked(libc.syscall(_CREATE, ctypes.byref(attr), size, 0))
    for paths, allowed in ((rules["read"], _READ), (rules["write"], handled)):
        for path in paths:
            _allow(ruleset, path, allowed & handled)
    if network and rules["port"]:
        port = _NetPortAttr(network, rules["port"])
        _checked(libc.syscall(_ADD, ruleset, _NET_PORT, ctypes.byref(port), 0))
    _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        allowed &= _ON_FILES
    attr = _PathBeneathAttr(allowed, place)
    _checked(_libc().syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(attr), 0))
    os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "Landlock failed")
    return result


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120
    seccomp = __import__("seccomp")  # the file next to this one
    rules = json.loads(sys.argv[1])
    restrict(rules)
    seccomp.forbid_sockets(local=False, only_tcp=rules["port"] is not None)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606
