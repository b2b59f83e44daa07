"""Drops root: a process that root started executes its command again as an unprivileged user.

If that user can run this interpreter, the process changes its user and executes itself. If the
interpreter or the checkout is below a closed directory (such as a ``/root`` of mode 0700), the
process first enters a private mount namespace: there, an empty directory covers the closed one,
and contains bind mounts of only the needed directories. No mode on the machine changes; the
process keeps its PID and its terminal. A farm also gets a launcher, which runs its slaves, and so
their builds, as a further user.

``python -m piwheels.core.program.privileges COMMAND...`` runs any command in this way.
"""

from __future__ import annotations

import configparser
import contextlib
import ctypes
import logging
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from piwheels.core.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

USER = "piw"
HOME = Path("/var/lib/piw")
#: The user of the builds of a farm, and its home.
BUILDER = "piw-build"
BUILDER_HOME = Path("/var/lib/piw-build")
PROBE_LIMIT = 60  # seconds
# Python silently uses another standard library if it cannot read its own: compare the prefixes.
PROBE = """
import os, sys
import piwheels, zmq
print(sys.base_prefix, sys.version, all(os.access(d, os.R_OK | os.X_OK) for d in sys.argv[1:]))
"""
# <linux/prctl.h>, <linux/mount.h>, <linux/sched.h>
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
CLONE_NEWNS = 0x20000


def refuse_root(program: str) -> None:
    """Raise :exc:`Fatal` if *program* runs as root, unless PIW_ALLOW_ROOT is set."""
    if os.geteuid() == 0 and not os.environ.get("PIW_ALLOW_ROOT"):
        raise Fatal(
            f"{program} does not run as root: start it as a user of its own, or use piw-up, which"
            " continues as one (PIW_ALLOW_ROOT=1 allows root)"
        )


def drop_root(
    user: str = USER,
    home: Path = HOME,
    extra_dirs: Iterable[Path] = (),
    data_dir: Path | None = None,
    *,
    launch: Callable[[pwd.struct_passwd, pwd.struct_passwd], dict[str, str]] | None = None,
) -> None:
    """If this process runs as root, execute its command again as *user*; otherwise do nothing.

    Creates the user, its *home*, and its *data_dir*, if they are missing. *extra_dirs* are
    directories that it must be able to read, in addition to this interpreter and its packages.
    Before that, *launch* starts a process with both this user and the one of builds, if that is
    possible; it returns the variables with which the command finds it.
    Returns only if this process is not root, or PIW_ALLOW_ROOT is set. Raises :exc:`Fatal` with
    the remedies if *user* cannot run the command.
    """
    if os.geteuid() != 0 or os.environ.get("PIW_ALLOW_ROOT"):
        return
    owner = _ensure_user(user, home)
    if data_dir is not None and not (data_dir.exists() or closed_ancestor(data_dir)):
        data_dir.mkdir(mode=0o700, parents=True)
        os.chown(data_dir, owner.pw_uid, owner.pw_gid)
    needed = [*interpreter_dirs(sys.executable), Path(__file__).parents[3], *extra_dirs]
    env = environment(os.environ, owner)
    builder = _builder() if launch else None
    for dirs in [], hidden(needed):
        drop = _Drop(owner, dirs)
        if _works(drop, env, needed):
            drop.prepare()
            if launch and builder and _can_build(builder, env, needed):
                env |= launch(owner, builder)
            drop.become()
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], env)  # noqa: S606
    closed = ", ".join(sorted({str(top) for path in needed if (top := closed_ancestor(path))}))
    raise Fatal(
        f"started as root, and the user {user!r}, which should take over, cannot run"
        f" {sys.executable} ({closed or 'its files'} cannot be entered, and a private mount"
        " namespace is not allowed here). Either run this as an ordinary user, or put interpreter"
        " and checkout where every user can read them, or set PIW_ALLOW_ROOT=1"
    )


def interpreter_dirs(python: str) -> list[Path]:
    """Return the directories of the interpreter *python* (a path): its environment and its base.

    Raises :exc:`Fatal` if it does not run.
    """
    ask = "import os, sys; print(sys.prefix, sys.base_prefix, os.path.realpath(sys.executable)"
    try:
        output = subprocess.run(
            [python, "-I", "-c", f"{ask}, sep='\\n')"],
            check=True,
            capture_output=True,
            text=True,
            timeout=PROBE_LIMIT,
        ).stdout
    except subprocess.CalledProcessError as error:
        raise Fatal(
            f"the interpreter {python} does not run (it ended with status {error.returncode}):"
            " name a Python"
        ) from None
    except (OSError, subprocess.SubprocessError) as error:
        raise Fatal(f"the interpreter {python} does not run: {error}") from None
    prefix, base, executable = map(Path, output.splitlines())
    places = executable.parents[1], Path(python).absolute().parents[1]
    return list(dict.fromkeys((prefix, base, base.resolve(), *places)))


def closed_ancestor(path: Path) -> Path | None:
    """Return the topmost directory above *path* that some users may not enter, or ``None``."""
    for parent in reversed(path.absolute().parents):
        with contextlib.suppress(OSError):
            if not parent.stat().st_mode & stat.S_IXOTH:
                return parent
    return None


def hidden(dirs: Iterable[Path]) -> list[Path]:
    """Return those of *dirs* below a closed directory, without subdirectories of others."""
    closed = sorted({path.absolute() for path in dirs if closed_ancestor(path)})
    return [path for path in closed if not any(other in path.parents for other in closed)]


def environment(env: Mapping[str, str], owner: pwd.struct_passwd) -> dict[str, str]:
    """Return *env* for *owner*: with its own home, and without root's directories.

    PIP_* variables replace root's pip configuration, which *owner* cannot read.
    """
    home = env.get("HOME", "/root")
    new = {**pip_settings(user_pip_files(home)), **env}
    for name, value in env.items():
        own = name.startswith("XDG_") and name.endswith(("_HOME", "_RUNTIME_DIR"))
        place = name in {"TMPDIR", "TMP", "TEMP", "PIP_CACHE_DIR", "UV_CACHE_DIR"}
        if own or (place and not _open_to_all(value)) or name.startswith("SUDO_"):
            del new[name]
    return {**new, "HOME": owner.pw_dir, "USER": owner.pw_name, "LOGNAME": owner.pw_name}


def user_pip_files(home: str) -> list[Path]:
    """Return the paths of the pip configuration of the user with this *home*, weakest first."""
    return [Path(home, ".pip", "pip.conf"), Path(home, ".config", "pip", "pip.conf")]


def pip_settings(files: Sequence[Path]) -> dict[str, str]:
    """Return the section ``global`` of pip's configuration *files* as PIP_* variables."""
    parser = configparser.RawConfigParser()
    for path in files:
        with contextlib.suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read_string(path.read_text("utf-8"))
    settings = parser["global"] if parser.has_section("global") else {}
    return {
        f"PIP_{name.upper().replace('-', '_')}": " ".join(value.split())
        for name, value in settings.items()
    }


class _Drop:
    """The steps by which a process becomes *owner*, with access to *dirs*, before exec."""

    def __init__(self, owner: pwd.struct_passwd, dirs: Sequence[Path] = ()) -> None:
        self.owner, self.dirs = owner, dirs
        self.covers = sorted({top for path in dirs if (top := closed_ancestor(path))})
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __call__(self) -> None:
        self.prepare()
        self.become()

    def prepare(self) -> None:
        """Hide the closed directories; from now on, no program gets more privileges."""
        place = Path.cwd()
        if self.dirs:
            self._hide()
        for capability in range(64):
            self.libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL past the last one
        self.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        with contextlib.suppress(OSError):
            os.chdir(place)

    def become(self) -> None:
        """Become the user, for good."""
        place = Path.cwd()
        os.initgroups(self.owner.pw_name, self.owner.pw_gid)
        os.setgid(self.owner.pw_gid)
        os.setuid(self.owner.pw_uid)
        try:
            os.chdir(place)
        except OSError:
            os.chdir(self.owner.pw_dir)

    def _hide(self) -> None:
        self._check("unshare", self.libc.unshare(CLONE_NEWNS))
        self._mount("none", Path("/"), flags=MS_REC | MS_PRIVATE)
        opened = [os.open(path, os.O_PATH) for path in self.dirs]
        before = os.umask(0o022)
        for cover in self.covers:
            self._mount("tmpfs", cover, kind="tmpfs", data="mode=0755,size=1m")
        for number, path in zip(opened, self.dirs, strict=True):
            path.mkdir(parents=True, exist_ok=True)
            # the open descriptor still refers to the directory that is now covered
            self._mount(f"/proc/self/fd/{number}", path, flags=MS_BIND | MS_REC)
            os.close(number)
        os.umask(before)

    def _mount(
        self, source: str, target: Path, *, kind: str = "", flags: int = 0, data: str = ""
    ) -> None:
        words = [word.encode() for word in (source, str(target), kind)]
        self._check(f"mount {target}", self.libc.mount(*words, flags, data.encode() or None))

    def _check(self, what: str, result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), what)


def _works(drop: _Drop, env: dict[str, str], needed: Sequence[Path]) -> bool:
    """Return whether this interpreter works after *drop*, and can read the *needed* paths."""
    try:
        result = subprocess.run(
            [sys.executable, "-c", PROBE, *map(str, needed)],
            check=False,
            capture_output=True,
            text=True,
            env=env,
            timeout=PROBE_LIMIT,
            preexec_fn=drop,  # this process has no other threads yet
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return result.stdout.strip() == f"{sys.base_prefix} {sys.version} True"


def _ensure_user(name: str, home: Path) -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(home)]
    why = ""
    if not _known(name):
        try:
            made = subprocess.run(
                [*command, "--shell", "/usr/sbin/nologin", name],
                check=False,
                capture_output=True,
                text=True,
                timeout=60,
            )
            why = made.stderr.strip()
        except (OSError, subprocess.SubprocessError) as error:
            why = str(error)
    if (owner := _known(name)) is None:
        raise Fatal(
            f"started as root, and the user {name!r}, which should take over, could not be created"
            f" ({why}): create it, run this as an ordinary user, or set PIW_ALLOW_ROOT=1"
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.stat().st_uid == 0:  # new, or a fresh volume
        os.chown(home, owner.pw_uid, owner.pw_gid)
    return owner


def _builder() -> pwd.struct_passwd | None:
    """Return the user of builds; ``None`` if it cannot be made."""
    try:
        return _ensure_user(BUILDER, BUILDER_HOME)
    except (Fatal, OSError) as error:
        _warn(str(error))
        return None


def _can_build(builder: pwd.struct_passwd, env: dict[str, str], needed: Sequence[Path]) -> bool:
    works = _works(_Drop(builder), environment(env, builder), needed)
    if not works:
        _warn(f"{builder.pw_name} cannot run {sys.executable}")
    return works


def _warn(why: str) -> None:
    logging.getLogger("up").warning("builds get no user of their own: %s", why)


def _known(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _open_to_all(path: str) -> bool:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH and mode & stat.S_IXOTH) and not closed_ancestor(Path(path))


def main() -> NoReturn:
    """Run the command in the arguments; if this is root, after :func:`drop_root`."""
    try:
        drop_root()
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
    except (Fatal, OSError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
