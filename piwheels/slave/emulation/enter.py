"""Makes a user namespace whose programs of another architecture run by qemu, then becomes one.

It runs as a text, ``python -I -S -c TEXT PLACE RULE COMMAND...``, and imports only what loads
quickly. PLACE is an empty folder, on which binfmt_misc is mounted, and RULE is for that. The
namespace has a binfmt_misc of its own (Linux 6.7): the rule is for nobody else. The command is
root there, and this user outside.
"""

import ctypes
import os
import sys

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x20000  # unshare(2)


def enter(place: str, rule: str) -> None:
    """Move this process into the new namespace. Raises ``OSError`` with a sentence."""
    libc = ctypes.CDLL(None, use_errno=True)
    maps = [("setgroups", "deny"), ("uid_map", f"0 {os.getuid()} 1")]
    maps.append(("gid_map", f"0 {os.getgid()} 1"))
    if libc.unshare(_NEW_USER | _NEW_MOUNTS):
        raise OSError(f"there are no user namespaces ({_error()})")
    for name, text in maps:
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 (no import of pathlib)
            file.write(text)
    if libc.mount(b"binfmt_misc", os.fsencode(place), b"binfmt_misc", 0, None):
        raise OSError(f"a user namespace cannot have its own binfmt_misc ({_error()})")
    register = os.open(f"{place}/register", os.O_WRONLY)
    os.write(register, rule.encode())
    os.close(register)


def _error() -> str:
    return os.strerror(ctypes.get_errno())


if __name__ == "__main__":
    try:
        enter(*sys.argv[1:3])
    except OSError as error:
        sys.exit(str(error))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606
