"""The access log: lines per second of piw-logger, rows per second of a master's database.

It also measures the list of all packages, with 600,000 of them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import zmq
from support import ABI, farm, fill, free_port, program, table

from piwheels.core import codec
from piwheels.core.database import Database
from piwheels.core.database.dsn import administer

if TYPE_CHECKING:
    from pathlib import Path

FILES = 1_000
ROWS = 40_000
LINES = 120_000
QUEUES = ("status", "control", "console", "import", "log")

_BUILDS = """
    INSERT INTO builds (package, version, abi_tag, status)
    SELECT 'load' || i, '1.1', %s, true FROM generate_series(1, %s) AS i
"""
_FILES = """
    INSERT INTO files (filename, build_id, filesize, filehash, package_tag, package_version_tag,
        py_version_tag, abi_tag, platform_tag)
    SELECT package || '-1.1-py3-none-any.whl', build_id, 1, repeat('0', 64), package, '1.1', 'py3',
        'none', 'any' FROM builds
"""
_MANY = (
    "INSERT INTO packages (package) SELECT 'package-name-' || i FROM generate_series(1, 600000) i",
    "INSERT INTO downloads_ever SELECT package, 166 FROM packages ON CONFLICT DO NOTHING",
    "INSERT INTO downloads_recent SELECT 'package-name-' || 1 + mod(7 * i + d, 600000),"
    " now()::date - d, 9 FROM generate_series(0, 29) d, generate_series(1, 30000) i",
    "ANALYZE",
)
_AGENT = (
    "aarch64", "Debian GNU/Linux", "12", "Linux", "6.6.31", "CPython", "3.11.2", "pip", "24.0",
    "66.1.1",
)  # fmt: skip


def downloads(address: str, dsn: str) -> tuple[str, str, str]:
    """Send many downloads; return the rate at which they reach the database."""
    frames = [
        codec.dumps(
            "LOGDOWNLOAD",
            [f"load{i}-1.1-py3-none-any.whl", f"192.0.2.{i % 250}", datetime.now(UTC), *_AGENT],
        )
        for i in range(1, FILES + 1)
    ]
    with zmq.Context() as ctx, ctx.socket(zmq.PUSH) as socket, Database(dsn) as db:
        socket.connect(address)
        start = time.perf_counter()
        for number in range(ROWS):
            socket.send(frames[number % FILES])
        while db.get_statistics()["downloads_all"] < ROWS:
            time.sleep(0.1)
        seconds = time.perf_counter() - start
    return "downloads, from the wire to the table", f"{ROWS / seconds:,.0f}", "rows/s"


def lines(home: Path) -> tuple[str, str, str]:
    """Run piw-logger on a log; return the lines per second of its processor time."""
    agent = json.dumps({"cpu": "aarch64", "python": "3.11.2"}).replace('"', '\\"')
    paths = "/simple/six/six-1.0-py3-none-any.whl", "/simple/six/", "/style.css"
    log = home / "access.log"
    with log.open("w") as file:
        for number in range(LINES):
            when = f"{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"
            file.write(
                f"192.0.2.{number % 250} - - [25/Nov/2026:{when} +0000]"
                f' "GET {paths[number % 3]} HTTP/1.1" 200 5120 "-" "pip/{number % 500} {agent}"\n'
            )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with zmq.Context() as ctx, ctx.socket(zmq.PULL) as sink:
        sink.bind(f"ipc://{home}/sink")
        command = [sys.executable, "-m", "piwheels.logger", "-q", str(log)]
        with subprocess.Popen([*command, f"--log-queue=ipc://{home}/sink"]) as process:
            while process.poll() is None:
                while sink.poll(10):
                    sink.recv()
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return "piw-logger, two of three lines sent", f"{LINES / used:,.0f}", "lines/s"


def packages(superuser: str, dsn: str) -> tuple[str, str, str]:
    """Return the duration of the query for all packages."""
    for statement in _MANY:
        administer(superuser, statement)
    with Database(dsn) as db:
        start = time.perf_counter()
        count = len(db.get_search_index())
        seconds = time.perf_counter() - start
    return f"the downloads of {count:,} packages", f"{seconds:.1f}", "s"


def main() -> int:
    """Measure piw-logger and a master, and print the rates."""
    with farm() as ours:
        rows = [lines(ours.home)]
        with Database(ours.dsn) as db:
            db.add_build_abi(ABI)
        fill(ours.superuser, FILES, 1)
        administer(ours.superuser, _BUILDS, ABI, FILES)
        administer(ours.superuser, _FILES)
        options = [f"--{name}-queue=ipc://{ours.home}/{name}" for name in QUEUES]
        options += [f"--{name}-queue=tcp://127.0.0.1:{free_port()}" for name in ("slave", "file")]
        with program(ours.home, "piwheels.master", *options, f"--dsn={ours.dsn}",
                     f"-o={ours.home}/site"):  # fmt: skip
            rows.append(downloads(f"ipc://{ours.home}/log", ours.dsn))
        rows.append(packages(ours.superuser, ours.dsn))
    table("The access log", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
