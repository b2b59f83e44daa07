"""Code that the benchmarks share: a temporary database, processes, and the table of results."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from piwheels import initdb
from piwheels.core.database.dsn import administer, redirect
from piwheels.core.host.postgres import DAEMON, Cluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: A line of a build's log, the size of the log in bytes, and the log.
LINE = "building 'demo.module' extension: gcc -O2 -fPIC -c demo/module.c -o build/demo/module.o\n"
LOG_BYTES = 10 * 1024
LOG = (LINE * (LOG_BYTES // len(LINE) + 1))[:LOG_BYTES]
ABI = "cp311"

_PACKAGES = "INSERT INTO packages (package) SELECT 'load' || i FROM generate_series(1, %s) AS i"
_VERSIONS = """
    INSERT INTO versions (package, version, released)
    SELECT 'load' || i, '1.' || j, now() - make_interval(mins => i * %s + j)
    FROM generate_series(1, %s) AS i, generate_series(1, %s) AS j
"""


class Farm(NamedTuple):
    """A directory with an empty database, and its addresses for the daemon and a superuser."""

    home: Path
    dsn: str
    superuser: str


@contextmanager
def farm() -> Iterator[Farm]:
    """Yield a temporary database with the safe settings of a real one."""
    home = Path(tempfile.mkdtemp(prefix="piw-bench-", dir="/tmp"))  # short: sockets are in it
    home.chmod(0o755)
    try:
        with Cluster(home / "pg", user="nobody") as cluster:
            superuser = cluster.ensure_database("piwheels")
            if initdb.main(["--quiet", "--dsn", superuser, "--yes"]) != 0:
                sys.exit("the database could not be made, see above")
            yield Farm(home, redirect(superuser, "piwheels", DAEMON), superuser)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def fill(superuser: str, packages: int, versions: int) -> float:
    """Add this many *packages* with *versions* each; return the seconds for the versions."""
    administer(superuser, _PACKAGES, packages)
    start = time.perf_counter()
    administer(superuser, _VERSIONS, versions, packages, versions)
    seconds = time.perf_counter() - start
    administer(superuser, "ANALYZE")
    return seconds


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def program(
    home: Path, module: str, *args: str, may_end: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program *module* without any configuration; its output goes to a file."""
    env = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "PIW_ALLOW_ROOT": "1"}
    log = home / f"{module}.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", module, *args]
        process = subprocess.Popen(command, env=env, stderr=output, stdout=output)
        try:
            yield process
            if process.poll() is not None and not may_end:
                sys.exit(f"{module} has ended: {log.read_text()[-2000:]}")
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def percentile(values: Iterable[float], percent: int) -> float:
    """Return the value that *percent* of *values* do not exceed (no values: NaN)."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) * percent // 100] if ordered else float("nan")


def table(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Print *rows* of a measurement, its value, and its unit."""
    name, value = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{title}  ({datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores)"]
    lines.append(f"$ python {' '.join(sys.argv)}")
    lines += [f"  {row[0]:{name}}  {row[1]:>{value}} {row[2]}" for row in rows]
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()
