"""Forbids kinds of sockets that no other rule of a sandbox reaches, by a filter of system calls.

It runs as a text, ``python -I -S -c TEXT COMMAND...``, inside of a sandbox, and imports only what
loads quickly. The numbers are those of ``linux/seccomp.h``, ``linux/filter.h`` and of each
machine's system calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

TYPE_CHECKING = False  # checkers know this name; the real one would cost the import of typing
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    #: A test of an argument: its number, the bits to compare, and the values that pass.
    Test = tuple[int, int, Sequence[int]]

#: The kernel's name of each machine with 64 bits (or 32): the number of its architecture, and of
#: its calls socket, sendto, sendmsg and sendmmsg.
_MACHINES = {
    ("x86_64", True): (0xC000003E, 41, 44, 46, 307),
    ("aarch64", True): (0xC00000B7, 198, 206, 211, 269),
    ("riscv64", True): (0xC00000F3, 198, 206, 211, 269),
    **dict.fromkeys(
        [(name, False) for name in ("armv6l", "armv7l", "armv8l", "aarch64")],
        (0x40000028, 281, 290, 296, 374),
    ),
}
_IO_URING_SETUP = 425  # the same on each machine
_X32 = 0x40000000  # the first call of another interface of x86_64
# The module socket would double the time that this program takes.
_UNIX, _INET, _INET6, _NETLINK, _STREAM, _TCP, _FAST_OPEN = 1, 2, 10, 16, 1, 6, 0x20000000

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVS, _GET_SECCOMP, _SET_SECCOMP, _FILTER = 38, 21, 22, ctypes.c_ulong(2)  # prctl(2)

#: A test that each call passes.
_ANY: Test = (0, 0, (0,))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def works() -> bool:
    """Return whether this kernel has filters, and this module knows the calls of this machine."""
    return _machine() in _MACHINES and _prctl(_GET_SECCOMP, ctypes.c_ulong(0)) >= 0


def forbid_sockets(*, local: bool, only_tcp: bool) -> None:
    """Forbid this process and its children, for ever, all sockets but those of IP, and of netlink.

    *local*: they may use Unix sockets, too; *only_tcp*: of IP they may use only plain TCP, whose
    connections other rules restrict. Raises ``OSError``. It does nothing unless it :func:`works`.
    """
    if works():
        steps = b"".join(_filter(local=local, only_tcp=only_tcp))
        program = ctypes.byref(_Program(len(steps) // 8, steps))
        for setting in ((_NO_NEW_PRIVS, ctypes.c_ulong(1)), (_SET_SECCOMP, _FILTER, program)):
            if _prctl(*setting) != 0:
                raise OSError(ctypes.get_errno(), "seccomp failed")


def _prctl(*arguments: Any) -> int:
    rest = [ctypes.c_ulong(0)] * (5 - len(arguments))
    result: int = ctypes.CDLL(None, use_errno=True).prctl(*arguments, *rest)
    return result


def _machine() -> tuple[str, bool]:
    return os.uname().machine, sys.maxsize > 2**32


def _filter(*, local: bool, only_tcp: bool) -> Iterator[bytes]:
    """Yield the steps of the filter, a program for the kernel's virtual machine."""
    architecture, new, send, send_message, send_messages = _MACHINES[_machine()]
    yield from (_step(_LOAD, 4), _step(_EQUAL, architecture, 1, 0), _fail(errno.ENOSYS))
    yield from (_step(_LOAD, 0), _step(_AT_LEAST, _X32, 0, 1), _fail(errno.ENOSYS))
    yield from _unless(_IO_URING_SETUP, _ANY, (0, 0, ()), errno.ENOSYS)
    domains = [_INET, _INET6, _NETLINK, *([_UNIX] if local else [])]
    yield from _unless(new, _ANY, (0, 0xFFFFFFFF, domains), errno.EAFNOSUPPORT)
    for domain in (_INET, _INET6) if only_tcp else ():
        of_domain = (0, 0xFFFFFFFF, (domain,))
        yield from _unless(new, of_domain, (1, 0xF, (_STREAM,)), errno.EACCES)
        yield from _unless(new, of_domain, (2, 0xFFFFFFFF, (0, _TCP)), errno.EACCES)
    # Calls that can connect, too
    sends = ((send, 3), (send_message, 2), (send_messages, 3))
    for number, flags in sends if only_tcp else ():
        yield from _unless(number, _ANY, (flags, _FAST_OPEN, (0,)), errno.EOPNOTSUPP)
    yield _step(_RETURN, _ALLOW)


def _unless(call: int, when: Test, passes: Test, error: int) -> list[bytes]:
    """Return the steps that let a *call* fail which meets the test *when*, but not *passes*."""
    argument, mask, values = passes
    rest = [_step(_LOAD, 16 + 8 * argument), _step(_AND, mask)]
    rest += [_step(_EQUAL, value, len(values) - at, 0) for at, value in enumerate(values)]
    rest.append(_fail(error))
    argument, mask, (value,) = when
    rest = [
        _step(_LOAD, 16 + 8 * argument),
        _step(_AND, mask),
        _step(_EQUAL, value, 0, len(rest)),
        *rest,
    ]
    return [_step(_LOAD, 0), _step(_EQUAL, call, 0, len(rest)), *rest]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _fail(error: int) -> bytes:
    return _step(_RETURN, _ERROR | error)


if __name__ == "__main__":
    forbid_sockets(local=True, only_tcp=False)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
