"""One piw-master: builds per second, latency of heartbeats, and megabytes per second."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from support import ABI, farm, fill, free_port, percentile, program, table
from support.slaves import BUILDING, HEARTBEATS, Crowd, send_wheels

from piwheels.core.database import Database
from piwheels.core.keys.files import KeyFolder, new_pair
from piwheels.core.keys.ring import Enrolled, Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from piwheels.core.keys.files import KeyPair

WARM, SECONDS = 1.0, 4.0
KEYS = 10
BLOB_BYTES = 50 * 10**6
QUEUE = ("status", "control", "console", "import", "log")

Rows = list[tuple[str, str, str]]


def latency(what: str, values: Sequence[float]) -> Rows:
    """Return the rows of a latency's median and 99th percentile."""
    return [
        (f"{what}, p{percent}", f"{1000 * percentile(values, percent):.1f}", "ms")
        for percent in (50, 99)
    ]


def builds(address: str, count: int, pairs: Sequence[KeyPair]) -> Rows:
    """Run *count* slaves that report failed builds as fast as they can."""
    crowd = Crowd(address, count, BUILDING, pairs=pairs)
    crowd.run(WARM)
    seconds = crowd.run(SECONDS)
    done = crowd.latency["BUILT", "DONE"]
    crowd.close()
    what = f"{count} slave{'s' * (count > 1)}"
    return [
        (f"{what}: failed builds, 10 KiB log", f"{len(done) / seconds:,.0f}", "builds/s"),
        *latency(f"{what}: BUILT to DONE", done),
    ]


def heartbeats(address: str, files: str, pairs: Sequence[KeyPair]) -> Rows:
    """Run 500 slaves that send BUSY twice a second, alone and during transfers."""
    blob = os.urandom(BLOB_BYTES)
    crowd = Crowd(address, 500, HEARTBEATS, 0.5, pairs)
    crowd.run(2 * WARM)
    crowd.run(SECONDS)
    rows = latency("500 slaves, 2 heartbeats/s: BUSY to CONT, quiet", crowd.latency["BUSY", "CONT"])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(int).result()  # wait for its start
        future = pool.submit(
            send_wheels, address, files, blob, SECONDS, pairs[0] if pairs else None
        )
        crowd.run(SECONDS)
        latencies = list(crowd.latency["BUSY", "CONT"])
        sent = future.result(60)
    crowd.close()
    size, transfer, verification = (sum(column) for column in zip(*sent, strict=True))
    return [
        *rows,
        *latency("the same, while wheels of 50 MB come", latencies),
        ("transfer of those", f"{size / transfer / 1e6:,.0f}", "MB/s"),
        ("SENT to DONE of those (verified, on the disk)", f"{verification / len(sent):.2f}", "s"),
    ]


def measure(home: Path, dsn: str, pairs: Sequence[KeyPair]) -> Rows:
    """Start a master, with keys if there are *pairs*, and put load on it."""
    ports = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
    options = [f"--{name}-queue=ipc://{home}/{name}" for name in QUEUE]
    options += [f"--slave-queue={ports[0]}", f"--file-queue={ports[1]}", f"--dsn={dsn}"]
    options += ["--pypi-simple=https://index.example/simple", f"-o={home}/site"]
    options += [f"--keys={home}/keys"] if pairs else []
    with program(home, "piwheels.master", *options):
        first = Crowd(ports[0], 1, BUILDING, pairs=pairs)
        while not first.latency["BUILT", "DONE"]:  # wait for its start
            first.run(1.0)
        first.close()
        rows = [row for count in (1, 50, 500) for row in builds(ports[0], count, pairs)]
        return rows + heartbeats(*ports, pairs)


def enrolled(home: Path) -> list[KeyPair]:
    """Return the keys of slaves, which the master with the keys in *home* admits."""
    folder, now = KeyFolder(home / "keys"), datetime.now(UTC)
    pairs = [new_pair(folder.pair().public) for _ in range(KEYS)]
    for number, pair in enumerate(pairs):
        new = Enrolled(Role.SLAVE, f"bench{number}", pair.public, now)
        folder.change(lambda ring, new=new: ring.enrol(new, now))
    return pairs


def main() -> int:
    """Start masters without and with keys, and print the measurements."""
    with farm() as ours:
        with Database(ours.dsn) as db:
            db.add_build_abi(ABI)
        fill(ours.superuser, 5_000, 20)
        for title, pairs in {"without": [], "with": enrolled(ours.home)}.items():
            table(f"One master, {title} keys", measure(ours.home, ours.dsn, pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
