"""The access log: rows a second until one piw-master's database has them."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

import zmq
from support import ABI, farm, fill, free_port, program, table

from piwheels.core import codec
from piwheels.core.database import Database
from piwheels.core.dsn import administer

FILES = 1_000
ROWS = 40_000
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
_AGENT = (
    "aarch64", "Debian GNU/Linux", "12", "Linux", "6.6.31", "CPython", "3.11.2", "pip", "24.0",
    "66.1.1",
)  # fmt: skip


def downloads(address: str, dsn: str) -> tuple[str, str, str]:
    """Send many downloads; return how many of them a second reached the database."""
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


def main() -> int:
    """Start a master, pour a log into it, and print how fast it went."""
    with farm() as ours:
        with Database(ours.dsn) as db:
            db.add_build_abi(ABI)
        fill(ours.superuser, FILES, 1)
        administer(ours.superuser, _BUILDS, ABI, FILES)
        administer(ours.superuser, _FILES)
        options = [f"--{name}-queue=ipc://{ours.home}/{name}" for name in QUEUES]
        options += [f"--{name}-queue=tcp://127.0.0.1:{free_port()}" for name in ("slave", "file")]
        with program(ours.home, "piwheels.master", *options, f"--dsn={ours.dsn}",
                     f"-o={ours.home}/site"):  # fmt: skip
            rows = [downloads(f"ipc://{ours.home}/log", ours.dsn)]
    table("The access log", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
